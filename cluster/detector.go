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

// checkPrompt returns an error while a proposal or an apply of this leader is stuck.
func (l *leaderState) checkPrompt() error {
	if passed := l.queue.oldestWait(); passed > stuckLimit {
		return fmt.Errorf("%w: an entry has been on its way for %v", ErrUnconfirmed, passed.Round(time.Millisecond))
	}
	if since, running := l.node.replica.ApplyingSince(); running && time.Since(since) > stuckLimit {
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
func (d detectorLeadership) Timestamp() (int64, bool) { return d.l.clock.peekTimestamp() }
func (d detectorLeadership) IsRefusal(err error) bool { return isRefusal(err) }

func (d detectorLeadership) SeemsDead(inc lock.Incarnation) bool {
	n := d.l.node
	return n.config.SeemsDead != nil && n.config.SeemsDead(inc) || n.gossip.seemsDead(n.clusterID(), inc)
}

func (d detectorLeadership) OpenView() (liveness.View, error) {
	view, err := d.l.node.tables.OpenView()
	if err != nil {
		return nil, err
	}
	return view, nil
}

func (d detectorLeadership) Propose(ctx context.Context, c *fsm.Command) (fsm.Result, error) {
	return d.l.proposePatiently(ctx, c)
}
