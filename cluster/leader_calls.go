package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"github.com/profilenode/profilenode/cluster/internal/liveness"
	"github.com/profilenode/profilenode/cluster/internal/peerwire"
	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

// Propose writes a command to the log and returns its result once it is applied here. Only a leader proposes; a follower
// does not forward. A nil error says that the command was applied; Result.Code is its outcome.
//
// NotLeaderError, ErrBusy, ErrNoSpace and ErrClosed are refusals: the command was not applied and this call will not
// cause it to be. After ErrUnknown it may have been applied, or may be later; ask again under the same request number.
func (n *Node) Propose(ctx context.Context, command *fsm.Command) (fsm.Result, error) {
	began := time.Now()
	result, err := n.proposeLocally(ctx, command)
	n.config.Metrics.RecordProposal(command, result, time.Since(began), err)
	return result, err
}

func (n *Node) proposeLocally(ctx context.Context, command *fsm.Command) (fsm.Result, error) {
	l, err := n.leadership.awaitLeaderState(ctx)
	if err != nil {
		return fsm.Result{}, err
	}
	l.detector.NoteRequest(lock.Incarnation(command.GetRequest().GetIncarnation()))
	if err := l.checkSpaceAdmits(command); err != nil {
		return fsm.Result{}, err
	}
	return l.queue.proposeAndWait(ctx, command)
}

// ConfirmLeadership returns once a majority of the voters have answered, each after the call began, that they know of no
// later term. So this node led at some moment during the call, and its tables then held the latest state. term is the
// confirmed term, as in the opening command's entry. ErrUnconfirmed, NotLeaderError and ErrClosed are refusals.
func (n *Node) ConfirmLeadership(ctx context.Context) (term uint64, err error) {
	l, err := n.leadership.awaitLeaderState(ctx)
	if err != nil {
		return 0, err
	}
	if err := l.confirmer.confirmNow(ctx); err != nil {
		return 0, err
	}
	return l.term, nil
}

// Renew confirms leadership and records that inc was heard at the time of the call. Nothing else renews an incarnation.
// The caller answers the incarnation afterwards, from tables that it reads afterwards; they may say that inc is gone.
// While an expiry of inc is under way, Renew waits for its outcome. ErrUnconfirmed also means that this leader is too
// slow at the moment to confirm renewals.
func (n *Node) Renew(ctx context.Context, inc lock.Incarnation) (term uint64, err error) {
	term, err = n.confirmRenewal(ctx, inc)
	n.config.Metrics.RecordRenewal(err)
	return term, err
}

func (n *Node) confirmRenewal(ctx context.Context, inc lock.Incarnation) (term uint64, err error) {
	arrived := time.Now()
	l, err := n.leadership.awaitLeaderState(ctx)
	if err != nil {
		return 0, err
	}
	l.detector.NoteRequest(inc)
	if err := l.checkPrompt(); err != nil {
		return 0, err
	}
	if err := l.confirmer.confirmSoon(ctx); err != nil {
		return 0, err
	}
	switch err := l.detector.NoteRenewal(ctx, inc, arrived); {
	case errors.Is(err, liveness.ErrLeadershipOver):
		return 0, n.leadership.notLeaderError()
	case err != nil:
		return 0, fmt.Errorf("%w: %w", ErrUnconfirmed, err)
	}
	return l.term, nil
}

// SilenceOf returns the time since this leader last heard inc. ok is false if this node does not lead or inc is not
// alive.
func (n *Node) SilenceOf(inc lock.Incarnation) (silent time.Duration, ok bool) {
	l := n.leadership.now()
	if l == nil {
		return 0, false
	}
	return l.detector.SilenceOf(inc)
}

// PendingSince returns how long this leader has been waiting for the owner of a contested grant: for its release if it
// was asked to let go, for its acknowledgement if the grant was revoked. ok is false if this node does not lead or its
// failure detector has not seen the contest yet.
func (n *Node) PendingSince(g fsm.OwnedGrant) (pending time.Duration, ok bool) {
	l := n.leadership.now()
	if l == nil {
		return 0, false
	}
	return l.detector.PendingSince(g)
}

// AddStream records an open stream of a game server that is alive by confirmed tables. The caller may repeat it at each
// renewal, so that a leadership that began in the meantime knows the stream too.
func (n *Node) AddStream(s *Stream) {
	if l := n.leadership.now(); l != nil {
		l.detector.AddStream(s)
	}
}

// NoteStreamEnd records that a stream has ended. byPeer says that FIN or RST came from the peer on its connection; any
// other end proves nothing about the process.
func (n *Node) NoteStreamEnd(s *Stream, byPeer bool) {
	if l := n.leadership.now(); l != nil {
		l.detector.NoteStreamEnd(s, byPeer)
	}
}

// NoteRequest records that a request of an incarnation has arrived. It may have been sent earlier, but only a living
// process sends.
func (n *Node) NoteRequest(inc lock.Incarnation) {
	if l := n.leadership.now(); l != nil {
		l.detector.NoteRequest(inc)
	}
}

// CheckSpaceAdmits reports whether a command of this kind would be accepted now. It spares the log the parts of a save
// that would be refused after them.
func (n *Node) CheckSpaceAdmits(c *fsm.Command) error {
	if l := n.leadership.now(); l != nil {
		return l.checkSpaceAdmits(c)
	}
	return nil
}

// Leader returns the leader's address for clients, "" if it is not known, and whether this node is the leader.
func (n *Node) Leader() (client string, self bool) { return n.leadership.leaderAddress() }

// Transfer hands leadership to another voter and returns once this node does not lead any more.
func (n *Node) Transfer(ctx context.Context) error {
	if _, err := n.leadership.awaitLeaderState(ctx); err != nil {
		return err
	}
	return n.leadership.transferLeadership(ctx)
}

// ErrNotRemovable is in the error of Remove for a node that this leader must not take out, or that is not there.
var ErrNotRemovable = errors.New("this node cannot be removed")

// Remove takes a node out of the cluster for good. Only the leader can, and not itself: hand the lead over first. It returns
// ErrNotRemovable if the voters that would be left and that answer were no majority.
func (n *Node) Remove(ctx context.Context, id string) error {
	if _, err := n.leadership.awaitLeaderState(ctx); err != nil {
		return err
	}
	if id == n.ID() {
		return fmt.Errorf("%w: it leads the cluster: hand the leadership over first", ErrNotRemovable)
	}
	r := n.raftIfRunning()
	peers := configuredPeers(r)
	if !slices.ContainsFunc(peers, func(p peerwire.Peer) bool { return p.ID == id }) {
		return fmt.Errorf("%w: no node %s is in the cluster, or it is out already", ErrNotRemovable, id)
	}
	round, ok := n.membership.askMembers(ctx)
	if !ok {
		return fmt.Errorf("remove node: %w: the other nodes were not asked in time", ErrBusy)
	}
	left, answer := 0, 0
	for _, p := range peers {
		if !p.Voter || p.ID == id {
			continue
		}
		left++
		if _, ok := round.Members[p.ID]; ok {
			answer++
		}
	}
	if answer < left/2+1 {
		return fmt.Errorf("%w: of the %d voters that would be left %d answer, and %d are needed: start those that are down first", ErrNotRemovable, left, answer, left/2+1)
	}
	if err := n.leadership.classifyProposeError(n.lifecycle.waitForFuture(ctx, r.RemoveServer(raft.ServerID(id), 0, joinTimeout))); err != nil {
		return fmt.Errorf("remove node: %w", err)
	}
	return nil
}

// LastIndex is how far this node's log reaches: its last entry, or its newest snapshot if that is further.
func (n *Node) LastIndex() uint64 {
	r := n.raftIfRunning()
	if r == nil {
		return 0
	}
	return r.LastIndex()
}

// RaiseRolledBack keeps an alarm that this cluster has lost entries that a caller was told of: old disks were put back. Only a
// leader that has confirmed its lead after it was told of seen may say so, and by its log: its tables may be behind for a while.
func (n *Node) RaiseRolledBack(ctx context.Context, seen uint64) error {
	last := n.LastIndex()
	result, err := n.Propose(ctx, fsm.NewCommand(nil, &fsm.RaiseAlarm{Code: string(AlarmRolledBack), Text: fmt.Sprintf(
		"a game server was told of entry %d, and the log ended at %d: old disks were put back under the cluster, and what was acknowledged since is lost; "+
			"start anew the game servers that ran before, then profilenode alarms clear %s", seen, last, AlarmRolledBack)}))
	if err == nil && result.Code != fsm.OK && result.Code != fsm.Superseded { // superseded: it stands already
		err = errors.New("the tables do not take it")
	}
	if err != nil {
		return fmt.Errorf("raise the alarm %s: %w", AlarmRolledBack, err)
	}
	return nil
}
