package server

import (
	"context"
	"fmt"

	"google.golang.org/grpc/peer"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

// Register makes an incarnation; the same nonce again gets the same one.
func (s profilesService) Register(ctx context.Context, q *profilev1.RegisterRequest) (*profilev1.RegisterResponse, error) {
	if err := checkFieldErrors(0, checkRegister(q)); err != nil {
		return nil, err
	}
	if err := s.checkNotRolledBack(ctx, q.GetSeenEpoch(), q.GetSeen()); err != nil {
		return nil, s.unconfirmedAnswer(err)
	}
	if err := s.limitRegistrations(q); err != nil {
		return nil, err
	}
	from := ""
	if p, ok := peer.FromContext(ctx); ok && p.Addr != nil {
		from = p.Addr.String()
	}
	result, err := s.node.Propose(ctx, fsm.NewCommand(nil, &fsm.Register{
		Name: q.GetName(), Kind: uint32(q.GetKind()), Nonce: q.GetNonce(), Replaces: q.GetReplaces(), Where: q.GetWhere(),
		Ping: q.GetPing(), Peer: from[:min(len(from), fsm.MaxWhere)], Cluster: q.GetCluster(), Epoch: q.GetEpoch(),
		TimingClass: q.GetTimingClass(), ReplacedRegistration: q.GetReplacedRegistration(),
	}))
	if err != nil {
		return nil, s.refusals.proposeError(0, err)
	}
	if result.Code == fsm.TooManyServers {
		return nil, limitedError(fsm.PolicyMaxServers, result.Limit, tooManyServersPause)
	}
	if err := s.refusals.refusedResult(0, result); err != nil {
		return nil, err
	}
	view, err := s.node.View()
	if err != nil {
		return nil, s.refusals.unknownOutcomeError(0, err)
	}
	defer func() { _ = view.Close() }()
	nodes, gossip, err := nodeAddresses(view)
	if err != nil {
		return nil, s.refusals.unknownOutcomeError(0, err)
	}
	row, ok, err := view.Server(lock.Incarnation(result.Token))
	if err == nil && !ok {
		err = fmt.Errorf("incarnation %d was registered, and the tables do not have it any more", result.Token)
	}
	if err != nil {
		return nil, s.refusals.unknownOutcomeError(0, err)
	}
	standing := view.Position()
	return &profilev1.RegisterResponse{
		Incarnation: uint64(result.Token), Cluster: standing.Cluster, Epoch: standing.Epoch,
		Header: replyHeader(nil, result), Timing: timingToWire(row.Class), Nodes: nodes, Gossip: gossip, Limits: hardLimits(),
		Binding: lock.Binding(standing.Cluster, standing.Epoch), Level: standing.Level, Features: s.features(standing.Level),
	}, nil
}

// hardLimits are those of the state machine, which no policy widens.
func hardLimits() *profilev1.Limits {
	return &profilev1.Limits{
		DataBytes: fsm.MaxData, MessageBytes: fsm.MaxMessage, KindBytes: fsm.MaxKind, StoreBytes: fsm.MaxStore, KeyBytes: fsm.MaxKey, NameBytes: fsm.MaxName,
		WhereBytes: fsm.MaxWhere, Tags: fsm.MaxTags, TagBytes: fsm.MaxTagBytes, Clears: fsm.MaxMarks, Claims: fsm.MaxClaims,
	}
}

func timingToWire(c fsm.TimingClass) *profilev1.Timing {
	return &profilev1.Timing{
		Name: c.Name, RenewMs: c.Renew.Milliseconds(), DoubtMs: c.Doubt.Milliseconds(), EvidenceMs: c.Evidence.Milliseconds(),
		LeaseMs: c.Lease.Milliseconds(), HandOffMs: c.HandOff.Milliseconds(),
	}
}

// nodeAddresses lists where clients reach the nodes, and where these gossip with game servers.
func nodeAddresses(view *View) (clients, gossip []string, err error) {
	nodes, err := view.Nodes()
	if err != nil {
		return nil, nil, err
	}
	for _, n := range nodes {
		if n.Client != "" {
			clients = append(clients, n.Client)
		}
		if n.ServerGossip != "" {
			gossip = append(gossip, n.ServerGossip)
		}
	}
	return clients, gossip, nil
}

// EndServer is the goodbye.
func (s profilesService) EndServer(ctx context.Context, q *profilev1.EndServerRequest) (*profilev1.EndServerResponse, error) {
	if err := checkFieldErrors(q.GetRequest().GetNumber(), checkRequest(q.GetRequest())); err != nil {
		return nil, err
	}
	result, err := s.proposeChange(ctx, q.GetRequest(), &fsm.EndServer{})
	if err != nil {
		return nil, err
	}
	return &profilev1.EndServerResponse{Header: replyHeader(q.GetRequest(), result)}, nil
}

// Settle answers with the outcome of the number: an old refusal is an answer here, not a refusal of the settling.
func (s profilesService) Settle(ctx context.Context, q *profilev1.SettleRequest) (*profilev1.SettleResponse, error) {
	number := q.GetRequest().GetNumber()
	if err := checkFieldErrors(number, checkRequest(q.GetRequest())); err != nil {
		return nil, err
	}
	result, err := s.node.Propose(ctx, fsm.NewCommand(requestFromWire(q.GetRequest()), &fsm.Settle{}))
	if err != nil {
		return nil, s.refusals.proposeError(number, err)
	}
	if !result.Repeated && result.Code != fsm.GivenUp {
		if err := s.refusals.refusedResult(number, result); err != nil {
			return nil, err
		}
	}
	return &profilev1.SettleResponse{
		Header: replyHeader(q.GetRequest(), result), Reason: ReasonOf(result.Code), Queued: result.Code == fsm.Queued,
	}, nil
}

// Renew is one renewal without a stream. An absent session of the held set is over: the answer is newer than the
// renewal.
func (s profilesService) Renew(ctx context.Context, q *profilev1.Renewal) (*profilev1.Renewed, error) {
	server := lock.Incarnation(q.GetIncarnation())
	if server == 0 {
		return nil, checkFieldErrors(0, invalidField("the renewal names no incarnation: register first"))
	}
	ctx, cancel := context.WithTimeout(ctx, renewLimit)
	defer cancel()
	if err := s.checkRegistration(ctx, server, q.GetRegistration(), q.GetSeen()); err != nil {
		return nil, err
	}
	term, view, err := s.confirmRenewal(ctx, server, q.GetRegistration(), true, q.GetSeen())
	if err != nil {
		return nil, s.unconfirmedAnswer(err)
	}
	defer func() { _ = view.Close() }()
	renewed, err := s.addUnaryEvents(view, q, term)
	if err != nil {
		return nil, s.refusals.brokenError(0, err)
	}
	renewed.Level = view.Position().Level
	renewed.Features = s.features(renewed.Level)
	return renewed, nil
}
