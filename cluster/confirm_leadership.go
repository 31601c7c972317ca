package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/profilenode/profilenode/cluster/internal/peerwire"
)

const (
	roundTimeout  = time.Second           // how long a majority may take to answer a round
	roundPeriod   = time.Second           // a round runs at least this often, to keep the samples of the voters' clocks fresh
	askRetryPause = 50 * time.Millisecond // pause before a voter that did not answer is asked again
	gatherPause   = 10 * time.Millisecond // how long a renewal waits for other renewals to share its round
)

// leadershipConfirmer runs the confirmation rounds of one leadership. A round serves all calls that were waiting when it
// began. A later call waits for the next round: answers that were sent before the call say nothing about the time after
// it.
type leadershipConfirmer struct {
	leader *leaderState

	mu        sync.Mutex
	nextRound *confirmationRound
	callNow   chan struct{} // a call waits for a round
	callSoon  chan struct{} // a call waits that may wait for another gatherPause

	links      map[raft.ServerAddress]*voterLink // connections to the other voters; used by the running round alone
	goroutines sync.WaitGroup
}

type confirmationRound struct {
	done chan struct{}
	err  error // written before done is closed
}

func newLeadershipConfirmer(l *leaderState) *leadershipConfirmer {
	return &leadershipConfirmer{
		leader: l, nextRound: &confirmationRound{done: make(chan struct{})}, callNow: make(chan struct{}, 1), callSoon: make(chan struct{}, 1),
		links: map[raft.ServerAddress]*voterLink{},
	}
}

func (c *leadershipConfirmer) confirmNow(ctx context.Context) error {
	return c.joinRound(ctx, c.callNow)
}

// confirmSoon is confirmNow for calls that may wait for a gatherPause. Without the pause, thousands of renewals a second
// would run a round each.
func (c *leadershipConfirmer) confirmSoon(ctx context.Context) error {
	return c.joinRound(ctx, c.callSoon)
}

func (c *leadershipConfirmer) joinRound(ctx context.Context, call chan<- struct{}) error {
	c.mu.Lock()
	r := c.nextRound
	c.mu.Unlock()
	select {
	case call <- struct{}{}:
	default:
	}
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrUnconfirmed, ctx.Err())
	case <-c.leader.ctx.Done():
		return c.leader.node.leadership.notLeaderError()
	}
}

// runRounds holds rounds until the leadership ends.
func (c *leadershipConfirmer) runRounds() {
	defer c.goroutines.Wait()
	tick := time.NewTicker(roundPeriod)
	defer tick.Stop()
	for {
		select {
		case <-c.leader.ctx.Done():
			return
		case <-c.callSoon:
			c.gatherCalls()
		case <-c.callNow:
		case <-tick.C:
		}
		c.mu.Lock()
		r := c.nextRound
		c.nextRound = &confirmationRound{done: make(chan struct{})}
		c.mu.Unlock()
		began := time.Now()
		r.err = c.holdRound()
		c.leader.node.config.Metrics.RecordRound(time.Since(began), r.err)
		close(r.done)
	}
}

// gatherCalls waits for a gatherPause so that more calls share the round, or until a call needs a round at once.
func (c *leadershipConfirmer) gatherCalls() {
	pause := time.NewTimer(gatherPause)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-c.callNow:
	case <-c.leader.ctx.Done():
	}
}

// holdRound asks all other voters for one nonce and returns nil once a majority, this node included, has answered with
// this term. It reads one configuration and counts by server id. Learners do not count, and neither does an answer to an
// earlier nonce.
func (c *leadershipConfirmer) holdRound() error {
	r := c.leader.node.raftIfRunning()
	servers := r.GetConfiguration().Configuration().Servers
	self := raft.ServerID(c.leader.node.ID())
	var ids []string
	votes := make(chan nonceVote, len(servers))
	missing, asked := 0, 0
	alive := map[raft.ServerAddress]bool{}
	for _, s := range servers {
		if s.Suffrage == raft.Voter {
			ids = append(ids, string(s.ID))
		}
	}
	c.leader.clock.setVoters(ids)
	missing = len(ids)/2 + 1
	nonce := rand.Uint64()
	for _, s := range servers {
		switch {
		case s.Suffrage != raft.Voter:
		case s.ID == self:
			if r.CurrentTerm() == c.leader.term {
				missing--
			}
		default:
			alive[s.Address] = true
			c.voterLinkTo(s).offerQuestion(nonceQuestion{nonce: nonce, votes: votes})
			asked++
		}
	}
	for address, v := range c.links {
		if !alive[address] {
			v.cancel()
			delete(c.links, address)
		}
	}
	limit := time.NewTimer(roundTimeout)
	defer limit.Stop()
	for missing > 0 {
		if missing > asked {
			return ErrUnconfirmed
		}
		select {
		case v := <-votes:
			asked--
			if v.err == nil && v.term == c.leader.term {
				missing--
			}
		case <-limit.C:
			return ErrUnconfirmed
		case <-c.leader.ctx.Done():
			return c.leader.node.leadership.notLeaderError()
		}
	}
	return nil
}

type nonceQuestion struct {
	nonce uint64
	votes chan<- nonceVote // buffered: one vote from each voter
}

type nonceVote struct {
	term uint64
	err  error
}

// voterLink asks one other voter, one question at a time and always the latest. A voter that does not answer delays only
// the rounds that need its vote.
type voterLink struct {
	pending chan nonceQuestion
	cancel  context.CancelFunc
}

func (c *leadershipConfirmer) voterLinkTo(s raft.Server) *voterLink {
	if v := c.links[s.Address]; v != nil {
		return v
	}
	ctx, cancel := context.WithCancel(c.leader.ctx)
	v := &voterLink{pending: make(chan nonceQuestion, 1), cancel: cancel}
	c.links[s.Address] = v
	a := c.leader.node.port.ConnTo(peerwire.HostPort(s.Address), string(s.ID))
	c.goroutines.Go(func() {
		defer a.Close()
		v.askVoter(ctx, c.leader.clock, string(s.ID), a)
	})
	return v
}

// offerQuestion replaces a question that is still waiting: the round that asked it is over.
func (v *voterLink) offerQuestion(q nonceQuestion) {
	select {
	case <-v.pending:
	default:
	}
	v.pending <- q
}

func (v *voterLink) askVoter(ctx context.Context, c *clock, id string, a *peerwire.Conn) {
	for {
		select {
		case <-ctx.Done():
			return
		case q := <-v.pending:
			limited, cancel := context.WithTimeout(ctx, roundTimeout)
			asked := time.Now()
			answer, err := a.AskNonce(limited, q.nonce)
			cancel()
			q.votes <- nonceVote{term: answer.Term, err: err}
			if err == nil {
				c.addSample(id, answer.WallMS, asked, time.Now())
				continue
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(askRetryPause):
			}
		}
	}
}
