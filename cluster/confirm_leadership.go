package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

const (
	roundTimeout  = time.Second           // for a majority to answer
	roundPeriod   = time.Second           // a round runs at least this often, for the clocks
	askRetryPause = 50 * time.Millisecond // before a voter that did not answer is asked again
	gatherPause   = 10 * time.Millisecond // for which a renewal waits for others, when no round is called for otherwise
)

// ConfirmLeadership returns once a majority of the voters have said, each after Prove was called, that no later term has begun
// for them: at some moment in between this node led, and the content of its tables then was the latest. term is the one of
// this lead, as the log says it. ErrUnproven, NotLeaderError and ErrClosed refuse.
func (n *Node) ConfirmLeadership(ctx context.Context) (term uint64, err error) {
	l, err := n.awaitLeaderState(ctx)
	if err != nil {
		return 0, err
	}
	if err := l.confirmer.confirmNow(ctx); err != nil {
		return 0, err
	}
	return l.term, nil
}

// leadershipConfirmer runs the rounds of one lead. A round serves all calls that waited when it began; a later call waits for
// the next.
type leadershipConfirmer struct {
	leader *leaderState

	mu        sync.Mutex
	nextRound *confirmationRound
	callNow   chan struct{} // a call waits for a round
	callSoon  chan struct{} // a call waits that can wait for a gatherPause

	links      map[raft.ServerAddress]*voterLink // the round's own
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

// confirmSoon is confirmNow for calls without hurry. Thousands of renewals a second would otherwise call for a round each.
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
		return c.leader.node.notLeaderError()
	}
}

// runRounds holds rounds until the lead is over.
func (c *leadershipConfirmer) runRounds() {
	defer c.goroutines.Wait()
	tick := time.NewTicker(roundPeriod)
	defer tick.Stop()
	for {
		select {
		case <-c.leader.ctx.Done():
			return
		case <-c.callSoon:
			c.gatherVotes()
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

// gatherVotes lets a gatherPause pass, unless a call cannot wait.
func (c *leadershipConfirmer) gatherVotes() {
	pause := time.NewTimer(gatherPause)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-c.callNow:
	case <-c.leader.ctx.Done():
	}
}

// holdRound is one round. It reads one configuration and counts by server id; learners and this node's own past answers count
// nothing.
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
			return c.leader.node.notLeaderError()
		}
	}
	return nil
}

type nonceQuestion struct {
	nonce uint64
	votes chan<- nonceVote // has room for one from each
}

type nonceVote struct {
	term uint64
	err  error
}

// voterLink asks one other voter, one question at a time, always the latest: one that does not answer delays no round but
// those that need it.
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
	a := c.leader.node.transport.connTo(hostPort(s.Address), string(s.ID))
	c.goroutines.Go(func() {
		defer a.close()
		v.askVoter(ctx, c.leader.clock, string(s.ID), a)
	})
	return v
}

// offerQuestion replaces a question that was not taken: its round is over.
func (v *voterLink) offerQuestion(q nonceQuestion) {
	select {
	case <-v.pending:
	default:
	}
	v.pending <- q
}

func (v *voterLink) askVoter(ctx context.Context, c *clock, id string, a *nodeConn) {
	for {
		select {
		case <-ctx.Done():
			return
		case q := <-v.pending:
			limited, cancel := context.WithTimeout(ctx, roundTimeout)
			asked := time.Now()
			answer, err := a.askNonce(limited, q.nonce)
			cancel()
			q.votes <- nonceVote{term: answer.term, err: err}
			if err == nil {
				c.addSample(id, answer.wallMS, asked, time.Now())
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
