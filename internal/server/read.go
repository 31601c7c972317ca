package server

import (
	"context"
	"errors"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

// pageBytes is where a page of a list ends, however few its rows.
const pageBytes = 3 << 20

// errDataMissing is a profile's row without its data in the tables.
var errDataMissing = errors.New("a profile's data is missing from the tables")

// openView is the tables for one read: as a leader that has confirmed its lead has them, or stale, as this node does.
func (s *Server) openView(ctx context.Context, mode profilev1.ReadMode) (*View, error) {
	if mode == profilev1.ReadMode_READ_MODE_LINEARIZABLE {
		if _, err := s.node.ConfirmLeadership(ctx); err != nil {
			return nil, s.refusals.readError(err)
		}
	}
	view, err := s.node.View()
	if err != nil {
		return nil, s.refusals.brokenError(0, err)
	}
	return view, nil
}

// readHeader is the header of the reply to a read.
func readHeader(view *View, mode profilev1.ReadMode, revision uint64, token lock.Token) *profilev1.ReplyHeader {
	return &profilev1.ReplyHeader{Revision: revision, Token: uint64(token), Index: view.Position().Index, Mode: mode}
}

// Get reads a profile, whether or not it is owned. One that was never saved is answered with revision 0.
func (s profilesService) Get(ctx context.Context, q *profilev1.GetRequest) (*profilev1.GetResponse, error) {
	if err := checkFieldErrors(0, checkProfile(q.GetStore(), q.GetKey()), checkMode(q.GetMode())); err != nil {
		return nil, err
	}
	view, err := s.openView(ctx, q.GetMode())
	if err != nil {
		return nil, err
	}
	defer func() { _ = view.Close() }()
	if !q.GetWithoutData() {
		if err := s.readProfile(ctx, view, q.GetStore(), q.GetKey(), 0); err != nil {
			return nil, err
		}
	}
	reply, err := getProfile(view, q)
	if err != nil {
		return nil, s.refusals.brokenError(0, err)
	}
	return reply, nil
}

// readProfile makes room for reading a profile's data, and its messages up to a number of bytes.
func (s *Server) readProfile(ctx context.Context, view *View, store, key string, messages int) error {
	row, _, err := view.Profile(store, key)
	if err != nil {
		return s.refusals.brokenError(0, err)
	}
	if messages > 0 {
		box, err := view.Inbox(store, key)
		if err != nil {
			return s.refusals.brokenError(0, err)
		}
		messages = min(messages, int(box.Waiting)*fsm.MaxMessage)
	}
	return readBytes(ctx, int(row.Size)+messages)
}

func getProfile(view *View, q *profilev1.GetRequest) (*profilev1.GetResponse, error) {
	p, err := profileToWire(view, q.GetStore(), q.GetKey(), !q.GetWithoutData())
	if err != nil {
		return nil, err
	}
	grant, err := view.Grant(q.GetStore(), q.GetKey())
	if err != nil {
		return nil, err
	}
	box, err := view.Inbox(q.GetStore(), q.GetKey())
	if err != nil {
		return nil, err
	}
	owner, err := ownerIn(view, grant.Owner)
	return &profilev1.GetResponse{
		Header: readHeader(view, q.GetMode(), p.GetRevision(), grant.Token), Profile: p, Owner: owner,
		Messages: box.Waiting, SetAside: box.SetAside, Waiters: uint64(len(grant.Waiters)), LoadCount: grant.Loads, EndedBy: namedAskerIn(view, grant),
	}, err
}

// List lists stores, or the profiles of one.
func (s profilesService) List(ctx context.Context, q *profilev1.ListRequest) (*profilev1.ListResponse, error) {
	if err := checkFieldErrors(0, checkMode(q.GetMode()), checkAfter("prefix", q.GetPrefix()), checkAfter("after", q.GetAfter()),
		checkStores(q.GetStore())); err != nil {
		return nil, err
	}
	view, err := s.openView(ctx, q.GetMode())
	if err != nil {
		return nil, err
	}
	defer func() { _ = view.Close() }()
	reply := &profilev1.ListResponse{Header: readHeader(view, q.GetMode(), 0, 0)}
	limit := checkPage(q.GetLimit())
	if q.GetStore() == "" {
		stores, err := view.Stores()
		if err != nil {
			return nil, s.refusals.brokenError(0, err)
		}
		if reply.Stores, reply.More = storePage(stores, q.GetPrefix(), q.GetAfter(), limit); reply.More {
			reply.Next = reply.Stores[limit-1]
		}
		return reply, nil
	}
	if err := readBytes(ctx, pageBytes); err != nil {
		return nil, err
	}
	rows, next, err := view.List(q.GetStore(), q.GetPrefix(), q.GetAfter(), limit)
	if err != nil {
		return nil, s.refusals.brokenError(0, err)
	}
	size := 0
	for i, row := range rows {
		p := profileWithoutData(row)
		if size += proto.Size(p) + 8; size > pageBytes {
			next = rows[i-1].Key
			break
		}
		reply.Profiles = append(reply.Profiles, p)
	}
	reply.Next, reply.More = next, next != ""
	return reply, nil
}

func storePage(stores []string, prefix, after string, limit int) (page []string, more bool) {
	for _, store := range stores {
		if !strings.HasPrefix(store, prefix) || store <= after {
			continue
		}
		if len(page) == limit {
			return page, true
		}
		page = append(page, store)
	}
	return page, false
}

// profileToWire is a profile as the view has it; one that was never saved has revision 0.
func profileToWire(view *View, store, key string, withData bool) (*profilev1.Profile, error) {
	row, ok, err := view.Profile(store, key)
	if err != nil {
		return nil, err
	}
	if !ok {
		return &profilev1.Profile{Store: store, Key: key}, nil
	}
	p := profileWithoutData(row)
	if !row.Exists || !withData {
		return p, nil
	}
	data, ok, err := view.Data(store, key, row.Revision)
	if err == nil && !ok {
		err = errDataMissing
	}
	p.Data = data
	return p, err
}

// profileWithoutData is a profile's row, without its data.
func profileWithoutData(row fsm.Profile) *profilev1.Profile {
	p := &profilev1.Profile{
		Store: row.Store, Key: row.Key, Revision: row.Revision, Exists: row.Exists, CreatedMs: row.CreatedMS,
		SavedMs: row.SavedMS, Token: uint64(row.Token), Tags: row.Tags,
	}
	if row.Exists {
		p.Codec, p.Hash = row.Codec, row.Hash[:]
	}
	return p
}

// ownerIn is the game server of an incarnation; nil for none.
func ownerIn(view *View, id lock.Incarnation) (*profilev1.Owner, error) {
	if id == 0 {
		return nil, nil
	}
	server, _, err := view.Server(id)
	return &profilev1.Owner{Incarnation: uint64(id), Name: server.Name, Where: server.Where, InForce: server.Alive}, err
}

// ownerOf is the same for an answer that is already decided: an owner that cannot be read is left out.
func (t *refusalTable) ownerOf(id lock.Incarnation) *profilev1.Owner {
	if id == 0 {
		return nil
	}
	nameless := &profilev1.Owner{Incarnation: uint64(id)}
	view, err := t.node.View()
	if err != nil {
		return nameless
	}
	defer func() { _ = view.Close() }()
	owner, err := ownerIn(view, id)
	if err != nil {
		return nameless
	}
	return owner
}
