package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/profilenode/profilenode/cluster/internal/liveness"
	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

const (
	stuckLimit        = time.Second           // an entry or an apply that takes longer: this leader confirms no renewals
	proposeRetryPause = 20 * time.Millisecond // pause after a refused proposal of the failure detector
)

// Stream is one stream of a game server to this node, as seen by the service that accepted it. Each stream has its own
// value.
type Stream = liveness.Stream

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
	l, err := n.awaitLeaderState(ctx)
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
		return 0, n.notLeaderError()
	case err != nil:
		return 0, fmt.Errorf("%w: %w", ErrUnconfirmed, err)
	}
	return l.term, nil
}

// SilenceOf returns the time since this leader last heard inc. ok is false if this node does not lead or inc is not
// alive.
func (n *Node) SilenceOf(inc lock.Incarnation) (silent time.Duration, ok bool) {
	l := n.leaderStateNow()
	if l == nil {
		return 0, false
	}
	return l.detector.SilenceOf(inc)
}

// PendingSince returns how long this leader has been waiting for the owner of a contested grant: for its release if it
// was asked to let go, for its acknowledgement if the grant was revoked. ok is false if this node does not lead or its
// failure detector has not seen the contest yet.
func (n *Node) PendingSince(g fsm.OwnedGrant) (pending time.Duration, ok bool) {
	l := n.leaderStateNow()
	if l == nil {
		return 0, false
	}
	return l.detector.PendingSince(g)
}

// AddStream records an open stream of a game server that is alive by confirmed tables. The caller may repeat it at each
// renewal, so that a leadership that began in the meantime knows the stream too.
func (n *Node) AddStream(s *Stream) {
	if l := n.leaderStateNow(); l != nil {
		l.detector.AddStream(s)
	}
}

// NoteStreamEnd records that a stream has ended. byPeer says that FIN or RST came from the peer on its connection; any
// other end proves nothing about the process.
func (n *Node) NoteStreamEnd(s *Stream, byPeer bool) {
	if l := n.leaderStateNow(); l != nil {
		l.detector.NoteStreamEnd(s, byPeer)
	}
}

// NoteRequest records that a request of an incarnation has arrived. It may have been sent earlier, but only a living
// process sends.
func (n *Node) NoteRequest(inc lock.Incarnation) {
	if l := n.leaderStateNow(); l != nil {
		l.detector.NoteRequest(inc)
	}
}

// checkPrompt returns an error while a proposal or an apply of this leader is stuck.
func (l *leaderState) checkPrompt() error {
	if passed := l.queue.oldestWait(); passed > stuckLimit {
		return fmt.Errorf("%w: an entry has been on its way for %v", ErrUnconfirmed, passed.Round(time.Millisecond))
	}
	if since, running := l.node.replica.applyingSince(); running && time.Since(since) > stuckLimit {
		return fmt.Errorf("%w: an apply has been running since %v", ErrUnconfirmed, since)
	}
	return nil
}

// proposePatiently proposes a command and waits for its outcome until the leadership ends. While the queue is full it
// tries again.
func (l *leaderState) proposePatiently(ctx context.Context, c *fsm.Command) (fsm.Result, error) {
	for {
		began := time.Now()
		result, err := l.queue.proposeAndWait(ctx, c)
		l.node.config.Metrics.RecordProposal(c, result, time.Since(began), err)
		if !errors.Is(err, ErrBusy) || ctx.Err() != nil {
			return result, err
		}
		select {
		case <-ctx.Done():
		case <-time.After(proposeRetryPause):
		}
	}
}

func newDetector(l *leaderState) *liveness.Detector {
	c := l.node.config
	return liveness.New(l.ctx, detectorLeadership{l}, liveness.Config{Settings: c.Detector, Dial: c.Dial, Log: l.node.log, Metrics: c.Metrics})
}

// detectorLeadership is a leadership as the failure detector sees it.
type detectorLeadership struct{ l *leaderState }

var _ liveness.Leadership = detectorLeadership{}

func (d detectorLeadership) Term() uint64             { return d.l.term }
func (d detectorLeadership) OpenedAt() time.Time      { return d.l.openedAt }
func (d detectorLeadership) CheckPrompt() error       { return d.l.checkPrompt() }
func (d detectorLeadership) IsRefusal(err error) bool { return isRefusal(err) }

func (d detectorLeadership) SeemsDead(inc lock.Incarnation) bool { return d.l.node.seemsDead(inc) }

func (d detectorLeadership) OpenView() (liveness.View, error) {
	view, err := d.l.node.tables.openView()
	if err != nil {
		return nil, err
	}
	return view, nil
}

func (d detectorLeadership) Propose(ctx context.Context, c *fsm.Command) (fsm.Result, error) {
	return d.l.proposePatiently(ctx, c)
}
