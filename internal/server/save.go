package server

import (
	"context"
	"sync"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/fsm"
)

// Save stores an owner's next revision.
func (s profilesService) Save(ctx context.Context, q *profilev1.SaveRequest) (*profilev1.SaveResponse, error) {
	if err := checkFieldErrors(q.GetRequest().GetNumber(), checkRequest(q.GetRequest()), checkProfile(q.GetStore(), q.GetKey()), checkToken(q.GetToken()),
		checkTags(q.GetTags(), q.GetKeepTags()), checkClears(q.GetClearMessages()), checkSaveCause(q.GetEnd(), q.GetCause()),
		checkAnnounced(ctx, q.GetData()), checkData(q.GetData(), q.GetHash(), q.GetCodec())); err != nil {
		return nil, err
	}
	save := &fsm.Save{
		Store: q.GetStore(), Key: q.GetKey(), Token: q.GetToken(), Base: q.GetBase(), Tags: tagsFromWire(q.GetTags(), q.GetKeepTags()),
		ClearMessages: q.GetClearMessages(), End: q.GetEnd(), Cause: uint32(q.GetCause()),
	}
	result, err := s.writeInParts(ctx, q.GetRequest(), q.GetStore(), dataToWrite{q.GetCodec(), q.GetData(), q.GetHash()}, func(data *fsm.Data) any {
		save.Data = data
		return save
	})
	if err != nil {
		return nil, err
	}
	return &profilev1.SaveResponse{Header: replyHeader(q.GetRequest(), result), Next: s.refusals.ownerOf(result.Owner)}, nil
}

// Set overwrites without a session.
func (s profilesService) Set(ctx context.Context, q *profilev1.SetRequest) (*profilev1.SetResponse, error) {
	if err := checkFieldErrors(q.GetRequest().GetNumber(), checkRequest(q.GetRequest()), checkProfile(q.GetStore(), q.GetKey()),
		checkTags(q.GetTags(), q.GetKeepTags()), checkAnnounced(ctx, q.GetData()), checkData(q.GetData(), q.GetHash(), q.GetCodec())); err != nil {
		return nil, err
	}
	set := &fsm.Set{
		Store: q.GetStore(), Key: q.GetKey(), Expected: q.GetExpected(), AnyRevision: q.GetAnyRevision(), Tags: tagsFromWire(q.GetTags(), q.GetKeepTags()), Force: q.GetForce(),
	}
	result, err := s.writeInParts(ctx, q.GetRequest(), q.GetStore(), dataToWrite{q.GetCodec(), q.GetData(), q.GetHash()}, func(data *fsm.Data) any {
		set.Data = data
		return set
	})
	if err != nil {
		return nil, err
	}
	return &profilev1.SetResponse{Header: replyHeader(q.GetRequest(), result)}, nil
}

// Remove leaves a stone at the profile's next revision.
func (s profilesService) Remove(ctx context.Context, q *profilev1.RemoveRequest) (*profilev1.RemoveResponse, error) {
	if err := checkFieldErrors(q.GetRequest().GetNumber(), checkRequest(q.GetRequest()), checkProfile(q.GetStore(), q.GetKey())); err != nil {
		return nil, err
	}
	result, err := s.proposeChange(ctx, q.GetRequest(), &fsm.Remove{
		Store: q.GetStore(), Key: q.GetKey(), Expected: q.GetExpected(), AnyRevision: q.GetAnyRevision(), Force: q.GetForce(), DropMessages: q.GetDropMessages(),
	})
	if err != nil {
		return nil, err
	}
	return &profilev1.RemoveResponse{Header: replyHeader(q.GetRequest(), result)}, nil
}

func tagsFromWire(tags map[string]string, keep bool) *fsm.Tags {
	if keep {
		return nil
	}
	return &fsm.Tags{Tags: tags}
}

// dataToWrite is a profile's next value as a caller sent it.
type dataToWrite struct {
	codec uint32
	data  []byte
	hash  []byte
}

// smallData is up to how many bytes of data do not wait in line with larger ones, neither here nor in the queue of the log.
const smallData = 64 << 10

func (s *Server) budgetFor(data []byte) *byteBudget {
	if len(data) <= smallData {
		return s.small
	}
	return s.large
}

// writeInParts puts a change with data through the log, in parts first when it is too large for one entry.
func (s *Server) writeInParts(ctx context.Context, q *profilev1.Request, store string, v dataToWrite, act func(*fsm.Data) any) (fsm.Result, error) {
	line := s.budgetFor(v.data)
	taken, err := line.takeBytes(ctx, int64(len(v.data)))
	if err != nil {
		return fsm.Result{}, refusalError(&profilev1.Refusal{Reason: profilev1.Reason_REASON_BUSY, Number: q.GetNumber()}, "")
	}
	defer line.giveBack(taken)
	data := &fsm.Data{Codec: v.codec, Hash: v.hash, Size: uint64(len(v.data)), Whole: v.data}
	if len(v.data) > fsm.MaxWhole {
		data.Whole, data.Parts = nil, uint32((len(v.data)+fsm.PartBytes-1)/fsm.PartBytes)
		if err := s.node.CheckSpaceAdmits(fsm.NewCommand(requestFromWire(q), act(data))); err != nil {
			return fsm.Result{}, s.refusals.proposeError(q.GetNumber(), err)
		}
		if err := s.putParts(ctx, q, store, v.data); err != nil {
			return fsm.Result{}, err
		}
	}
	return s.proposeChange(ctx, q, act(data))
}

// putParts puts data up in parts, at once since each waits for the log by itself. An error is the status of this copy
// of the request, which did not happen.
//
// Parts that the rules refuse are not an error: the request goes up without them, because the table of answers is to
// speak first. It may have been done long ago, by a copy whose answer was lost.
func (s *Server) putParts(ctx context.Context, q *profilev1.Request, store string, data []byte) error {
	if s.exceedsPolicy(store, len(data)) {
		return nil
	}
	count := (len(data) + fsm.PartBytes - 1) / fsm.PartBytes
	results, errs := make([]fsm.Result, count), make([]error, count)
	var parts sync.WaitGroup
	for i := range count {
		part := &fsm.PutPart{Part: uint32(i), Bytes: data[i*fsm.PartBytes : min(len(data), (i+1)*fsm.PartBytes)]}
		parts.Go(func() {
			errs[i] = s.runRecovered("put a part", func() (err error) {
				results[i], err = s.node.Propose(ctx, fsm.NewCommand(requestFromWire(q), part))
				return err
			})
		})
	}
	parts.Wait()
	for i := range count {
		if errs[i] != nil {
			return s.refusals.proposeError(q.GetNumber(), errs[i])
		}
	}
	for i := range count {
		if results[i].Code == fsm.TooLarge { // beside other large saves of this incarnation, which are soon done
			return refusalError(&profilev1.Refusal{Reason: profilev1.Reason_REASON_BUSY, Number: q.GetNumber(), Limit: results[i].Limit},
				"too much data of this game server is on its way: try again soon with the same number")
		}
	}
	return nil
}

// exceedsPolicy spares the log the parts of data that the store's policy refuses. The refusal itself is the tables' to
// give.
func (s *Server) exceedsPolicy(store string, size int) bool {
	view, err := s.node.View()
	if err != nil {
		return false
	}
	defer func() { _ = view.Close() }()
	policies, err := view.Policies(store)
	if err != nil {
		return false
	}
	for _, p := range policies {
		if p.Name == fsm.PolicyMaxData {
			return int64(size) > p.Value
		}
	}
	return false
}
