package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/profilenode/profilenode/cluster/internal/liveness"
	"github.com/profilenode/profilenode/cluster/internal/peerwire"
	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

const (
	stuckLimit        = time.Second           // an entry or an apply that takes longer: this leader confirms no renewals
	reachTimeout      = 2 * time.Second       // how long a voter may take to call ping ports, which takes up to a second
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

// AskVoters asks the other voters, all at the same time.
func (d detectorLeadership) AskVoters(ctx context.Context, ports []liveness.PingPort) (reached map[string]int, voters int) {
	n := d.l.node
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	var q peerwire.ReachQuestion
	for _, p := range ports {
		q.Ports = append(q.Ports, peerwire.ReachPort{Incarnation: uint64(p.Incarnation), Address: p.Address})
	}
	reached = map[string]int{}
	var mu sync.Mutex
	var asking sync.WaitGroup
	for _, s := range n.raftIfRunning().GetConfiguration().Configuration().Servers {
		if s.Suffrage != raft.Voter {
			continue
		}
		voters++
		if string(s.ID) == n.ID() {
			continue
		}
		asking.Go(func() {
			c := n.port.ConnTo(peerwire.HostPort(s.Address), string(s.ID))
			defer c.Close()
			if answer, err := c.AskReach(ctx, q); err == nil {
				mu.Lock()
				defer mu.Unlock()
				reached[string(s.ID)] = answer.Reached
			}
		})
	}
	asking.Wait()
	return reached, voters
}

func (d detectorLeadership) HandOverTo(ctx context.Context, id string) error {
	for _, s := range d.l.node.raftIfRunning().GetConfiguration().Configuration().Servers {
		if string(s.ID) == id {
			return d.l.node.leadership.transferTo(ctx, s)
		}
	}
	return fmt.Errorf("hand the lead over: no node %s is in the cluster", id)
}
