package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

// Status is this node's own view; it needs no leader and no quorum.
func (s operatorService) Status(context.Context, *profilev1.StatusRequest) (*profilev1.StatusResponse, error) {
	st, standing := s.node.Status(), s.node.Position()
	reply := &profilev1.StatusResponse{
		Id: st.ID, Version: st.Version, Cluster: st.Cluster, Epoch: st.Epoch, Level: st.Level, State: st.State, Term: st.Term,
		Leader: st.Leader, LeaderClient: st.LeaderClient, Applied: st.Applied, Committed: st.Committed, Last: st.Last,
		Snapshot: st.Snapshot, Digest: st.Digest, StampMs: st.StampMS, Sessions: st.Sessions,
		Servers: st.Servers, LogBytes: st.LogBytes, TableBytes: st.TableBytes, UptimeMs: st.Uptime.Milliseconds(),
	}
	if len(standing.Cluster) > 0 {
		reply.Binding, reply.Features = lock.Binding(standing.Cluster, standing.Epoch), s.features(standing.Level)
	}
	if s.version != "" {
		reply.Version = s.version
	}
	for _, a := range st.Alarms {
		reply.Alarms = append(reply.Alarms, &profilev1.Alarm{
			Code: string(a.Code), Text: a.Text, SinceMs: a.Since.UnixMilli(), Notice: a.Code.Notice(),
		})
	}
	for _, m := range st.Members {
		reply.Members = append(reply.Members, &profilev1.Member{
			Id: m.ID, Address: m.Address, Client: m.Client, Voter: m.Voter, Leader: m.Leader, Gossip: m.Gossip, Level: m.Level,
		})
	}
	return reply, nil
}

// ClearAlarm takes away an alarm that is kept in the log.
func (s operatorService) ClearAlarm(ctx context.Context, q *profilev1.ClearAlarmRequest) (*profilev1.ClearAlarmResponse, error) {
	if err := checkFieldErrors(q.GetRequest().GetNumber(), checkRequest(q.GetRequest()), fsm.CheckAlarmCode(q.GetCode())); err != nil {
		return nil, err
	}
	result, err := s.proposeChange(ctx, q.GetRequest(), &fsm.ClearAlarm{Code: q.GetCode()})
	if err != nil {
		return nil, err
	}
	return &profilev1.ClearAlarmResponse{Header: replyHeader(q.GetRequest(), result)}, nil
}

// ExpectedMembers lists the addresses that operators have let nodes join from.
func (s operatorService) ExpectedMembers(ctx context.Context, q *profilev1.ExpectedMembersRequest) (*profilev1.ExpectedMembersResponse, error) {
	if err := checkFieldErrors(0, checkMode(q.GetMode())); err != nil {
		return nil, err
	}
	view, err := s.openView(ctx, q.GetMode())
	if err != nil {
		return nil, err
	}
	defer func() { _ = view.Close() }()
	addresses, err := view.ExpectedNodes()
	if err != nil {
		return nil, s.refusals.brokenError(0, err)
	}
	return &profilev1.ExpectedMembersResponse{Header: readHeader(view, q.GetMode(), 0, 0), Addresses: addresses}, nil
}

// AddMember lets a node join from an address.
func (s operatorService) AddMember(ctx context.Context, q *profilev1.AddMemberRequest) (*profilev1.AddMemberResponse, error) {
	if err := checkFieldErrors(q.GetRequest().GetNumber(), checkRequest(q.GetRequest()), fsm.CheckNodeAddress(q.GetAddress())); err != nil {
		return nil, err
	}
	result, err := s.proposeChange(ctx, q.GetRequest(), &fsm.ExpectNode{Address: q.GetAddress()})
	if err != nil {
		return nil, err
	}
	return &profilev1.AddMemberResponse{Header: replyHeader(q.GetRequest(), result)}, nil
}

// RemoveMember takes a node out of the cluster.
func (s operatorService) RemoveMember(ctx context.Context, q *profilev1.RemoveMemberRequest) (*profilev1.RemoveMemberResponse, error) {
	if q.GetId() == "" {
		return nil, checkFieldErrors(0, invalidField("the request names no node: give its id"))
	}
	err := s.node.Remove(ctx, q.GetId())
	if errors.Is(err, cluster.ErrNotRemovable) {
		return nil, checkFieldErrors(0, invalidField("%v", err))
	}
	if err != nil {
		return nil, s.refusals.readError(err)
	}
	return &profilev1.RemoveMemberResponse{}, nil
}

// TransferLeadership hands the leadership to another voter.
func (s operatorService) TransferLeadership(ctx context.Context, _ *profilev1.TransferLeadershipRequest) (*profilev1.TransferLeadershipResponse, error) {
	if _, err := s.node.ConfirmLeadership(ctx); err != nil {
		return nil, s.refusals.readError(err)
	}
	if err := s.node.Transfer(ctx); err != nil {
		return nil, checkFieldErrors(0, invalidField("%v: profilenode status shows which nodes could lead", err))
	}
	return &profilev1.TransferLeadershipResponse{}, nil
}

// Digest waits until this node's tables reach an index, and needs no leader.
func (s operatorService) Digest(ctx context.Context, q *profilev1.DigestRequest) (*profilev1.DigestResponse, error) {
	if q.GetIndex() > 0 {
		err := s.node.WaitApplied(ctx, q.GetIndex())
		if errors.Is(err, cluster.ErrClosed) || errors.Is(err, cluster.ErrFailed) {
			return nil, s.refusals.readError(err)
		}
		if err != nil {
			return nil, refusalError(&profilev1.Refusal{Reason: profilev1.Reason_REASON_BUSY, Index: q.GetIndex()},
				fmt.Sprintf("this node's tables have not reached index %d yet: ask again", q.GetIndex()))
		}
	}
	view, err := s.node.View()
	if err != nil {
		return nil, s.refusals.brokenError(0, err)
	}
	defer func() { _ = view.Close() }()
	standing := view.Position()
	return &profilev1.DigestResponse{Id: s.node.ID(), Index: standing.Index, Digest: standing.Digest}, nil
}

// Sessions lists sessions in force or revoked, owner by owner, a page at a time.
func (s operatorService) Sessions(ctx context.Context, q *profilev1.SessionsRequest) (*profilev1.SessionsResponse, error) {
	if err := checkFieldErrors(0, checkMode(q.GetMode()), checkAfter("after_key", q.GetAfterKey()), checkStores(q.GetStore(), q.GetAfterStore())); err != nil {
		return nil, err
	}
	view, err := s.openView(ctx, q.GetMode())
	if err != nil {
		return nil, err
	}
	defer func() { _ = view.Close() }()
	after := fsm.SessionPlace{Owner: lock.Incarnation(q.GetAfterOwner()), Store: q.GetAfterStore(), Key: q.GetAfterKey()}
	rows, more, err := view.Sessions(q.GetStore(), after, checkPage(q.GetLimit()))
	if err != nil {
		return nil, s.refusals.brokenError(0, err)
	}
	reply := &profilev1.SessionsResponse{Header: readHeader(view, q.GetMode(), 0, 0), More: more}
	for _, row := range rows {
		session, err := s.sessionToWire(view, row)
		if err != nil {
			return nil, s.refusals.brokenError(0, err)
		}
		reply.Sessions = append(reply.Sessions, session)
	}
	return reply, nil
}

func (s operatorService) sessionToWire(view *View, row fsm.OwnedGrant) (*profilev1.Session, error) {
	p, _, err := view.Profile(row.Store, row.Key)
	if err != nil {
		return nil, err
	}
	owner, err := ownerIn(view, row.Owner)
	if err != nil {
		return nil, err
	}
	out := &profilev1.Session{
		Store: row.Store, Key: row.Key, Token: uint64(row.Token), Owner: owner, SinceMs: row.SinceMS,
		LetGo: row.Wanted(), Revoked: row.Revoked, Revision: p.Revision,
		Cause: profilev1.Cause(row.Cause), Operator: row.Asked, SilentMs: -1, PendingMs: -1,
	}
	if silent, ok := s.node.SilenceOf(row.Owner); ok {
		out.SilentMs = silent.Milliseconds()
	}
	if pending, ok := s.node.PendingSince(row); ok {
		out.PendingMs = pending.Milliseconds()
	}
	now := time.Now().UnixMilli()
	for _, waiter := range row.Waiters {
		who, err := ownerIn(view, waiter.Server)
		if err != nil {
			return nil, err
		}
		who.WaitsMs = max(0, now-waiter.SinceMS)
		out.Waiters = append(out.Waiters, who)
	}
	return out, nil
}

// Servers lists the living incarnations, or all that are not forgotten, a page at a time. Only the leader knows how long one is
// silent.
func (s operatorService) Servers(ctx context.Context, q *profilev1.ServersRequest) (*profilev1.ServersResponse, error) {
	if err := checkFieldErrors(0, checkMode(q.GetMode())); err != nil {
		return nil, err
	}
	view, err := s.openView(ctx, q.GetMode())
	if err != nil {
		return nil, err
	}
	defer func() { _ = view.Close() }()
	list := view.LivingAfter
	if q.GetEnded() {
		list = view.ServersAfter
	}
	rows, more, err := list(lock.Incarnation(q.GetAfter()), checkPage(q.GetLimit()))
	if err != nil {
		return nil, s.refusals.brokenError(0, err)
	}
	reply := &profilev1.ServersResponse{Header: readHeader(view, q.GetMode(), 0, 0), More: more}
	for _, row := range rows {
		server := &profilev1.Server{
			Incarnation: uint64(row.Incarnation), Name: row.Name, Where: row.Where, Alive: row.Alive, SinceMs: row.SinceMS,
			Sessions: uint64(row.Sessions), SilentMs: -1, Gossip: s.node.GossipState(row.Incarnation), Wanted: uint64(row.Contested),
			Timing: timingToWire(row.Class),
		}
		if !row.Alive {
			server.Ground, server.EndedMs = row.Ground.String(), row.EndedMS
		}
		if row.Tool {
			server.Kind = profilev1.ServerKind_SERVER_KIND_TOOL
		}
		if silent, ok := s.node.SilenceOf(row.Incarnation); ok && row.Alive {
			server.SilentMs = silent.Milliseconds()
		}
		reply.Servers = append(reply.Servers, server)
	}
	return reply, nil
}

// GetPolicy lists the policies of a store, or the defaults of every store.
func (s operatorService) GetPolicy(ctx context.Context, q *profilev1.GetPolicyRequest) (*profilev1.GetPolicyResponse, error) {
	if err := checkFieldErrors(0, checkMode(q.GetMode()), checkStores(q.GetStore())); err != nil {
		return nil, err
	}
	view, err := s.openView(ctx, q.GetMode())
	if err != nil {
		return nil, err
	}
	defer func() { _ = view.Close() }()
	rows, err := view.Policies(q.GetStore())
	if err != nil {
		return nil, s.refusals.brokenError(0, err)
	}
	reply := &profilev1.GetPolicyResponse{Header: readHeader(view, q.GetMode(), 0, 0)}
	for _, row := range rows {
		reply.Policies = append(reply.Policies, &profilev1.Policy{
			Name: row.Name, Value: row.Value, Unit: row.Unit, Inherited: row.Inherited, Help: row.Help,
		})
	}
	return reply, nil
}

// SetPolicy changes a limit or habit of a store, or the default of every store.
func (s operatorService) SetPolicy(ctx context.Context, q *profilev1.SetPolicyRequest) (*profilev1.SetPolicyResponse, error) {
	if err := checkFieldErrors(q.GetRequest().GetNumber(), checkRequest(q.GetRequest()), checkPolicy(q)); err != nil {
		return nil, err
	}
	result, err := s.proposeChange(ctx, q.GetRequest(), &fsm.SetPolicy{
		Store: q.GetStore(), Name: q.GetName(), Value: q.GetValue(), Inherit: q.GetInherit(),
	})
	if err != nil {
		return nil, err
	}
	return &profilev1.SetPolicyResponse{Header: replyHeader(q.GetRequest(), result)}, nil
}

func checkPolicy(q *profilev1.SetPolicyRequest) error {
	if q.GetStore() != "" {
		if err := fsm.CheckStore(q.GetStore()); err != nil {
			return err
		}
	}
	known := slices.ContainsFunc(fsm.DefaultPolicies(), func(p *fsm.PolicyValue) bool { return p.GetName() == q.GetName() })
	switch err := fsm.CheckPolicy(q.GetStore(), q.GetName(), q.GetValue()); {
	case !known:
		return &fieldError{reason: profilev1.Reason_REASON_UNKNOWN_POLICY, says: err.Error()}
	case q.GetInherit() && q.GetStore() == "":
		return invalidField("a default has no default of its own to go back to: set it to a value")
	case err != nil && !q.GetInherit():
		return err
	}
	return nil
}
