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
	roundLimit  = time.Second           // for a majority to answer
	roundPeriod = time.Second           // a round runs at least this often, for the clocks
	askPause    = 50 * time.Millisecond // before a voter that did not answer is asked again
	gatherPause = 10 * time.Millisecond // for which a renewal waits for others, when no round is called for otherwise
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
	l *leaderState

	mu   sync.Mutex
	next *confirmationRound
	wake chan struct{} // a call waits for a round
	soon chan struct{} // a call waits that can wait for a gatherPause

	voters map[raft.ServerAddress]*voterLink // the round's own
	asking sync.WaitGroup
}

type confirmationRound struct {
	done chan struct{}
	err  error // written before done is closed
}

func newLeadershipConfirmer(l *leaderState) *leadershipConfirmer {
	return &leadershipConfirmer{
		l: l, next: &confirmationRound{done: make(chan struct{})}, wake: make(chan struct{}, 1), soon: make(chan struct{}, 1),
		voters: map[raft.ServerAddress]*voterLink{},
	}
}

func (p *leadershipConfirmer) confirmNow(ctx context.Context) error { return p.joinRound(ctx, p.wake) }

// confirmSoon is confirmNow for calls without hurry. Thousands of renewals a second would otherwise call for a round each.
func (p *leadershipConfirmer) confirmSoon(ctx context.Context) error { return p.joinRound(ctx, p.soon) }

func (p *leadershipConfirmer) joinRound(ctx context.Context, call chan<- struct{}) error {
	p.mu.Lock()
	r := p.next
	p.mu.Unlock()
	select {
	case call <- struct{}{}:
	default:
	}
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrUnproven, ctx.Err())
	case <-p.l.ctx.Done():
		return p.l.node.notLeaderError()
	}
}

// runRounds holds rounds until the lead is over.
func (p *leadershipConfirmer) runRounds() {
	defer p.asking.Wait()
	tick := time.NewTicker(roundPeriod)
	defer tick.Stop()
	for {
		select {
		case <-p.l.ctx.Done():
			return
		case <-p.soon:
			p.gatherVotes()
		case <-p.wake:
		case <-tick.C:
		}
		p.mu.Lock()
		r := p.next
		p.next = &confirmationRound{done: make(chan struct{})}
		p.mu.Unlock()
		began := time.Now()
		r.err = p.holdRound()
		p.l.node.config.Metrics.Round(time.Since(began), r.err)
		close(r.done)
	}
}

// gatherVotes lets a gatherPause pass, unless a call cannot wait.
func (p *leadershipConfirmer) gatherVotes() {
	pause := time.NewTimer(gatherPause)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-p.wake:
	case <-p.l.ctx.Done():
	}
}

// holdRound is one round. It reads one configuration and counts by server id; learners and this node's own past answers count
// nothing.
func (p *leadershipConfirmer) holdRound() error {
	r := p.l.node.raftIfRunning()
	servers := r.GetConfiguration().Configuration().Servers
	self := raft.ServerID(p.l.node.ID())
	var ids []string
	votes := make(chan nonceVote, len(servers))
	missing, asked := 0, 0
	alive := map[raft.ServerAddress]bool{}
	for _, s := range servers {
		if s.Suffrage == raft.Voter {
			ids = append(ids, string(s.ID))
		}
	}
	p.l.clock.setVoters(ids)
	missing = len(ids)/2 + 1
	nonce := rand.Uint64()
	for _, s := range servers {
		switch {
		case s.Suffrage != raft.Voter:
		case s.ID == self:
			if r.CurrentTerm() == p.l.term {
				missing--
			}
		default:
			alive[s.Address] = true
			p.voterLinkTo(s).offerQuestion(nonceQuestion{nonce: nonce, votes: votes})
			asked++
		}
	}
	for address, v := range p.voters {
		if !alive[address] {
			v.cancel()
			delete(p.voters, address)
		}
	}
	limit := time.NewTimer(roundLimit)
	defer limit.Stop()
	for missing > 0 {
		if missing > asked {
			return ErrUnproven
		}
		select {
		case v := <-votes:
			asked--
			if v.err == nil && v.term == p.l.term {
				missing--
			}
		case <-limit.C:
			return ErrUnproven
		case <-p.l.ctx.Done():
			return p.l.node.notLeaderError()
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
	mail   chan nonceQuestion
	cancel context.CancelFunc
}

func (p *leadershipConfirmer) voterLinkTo(s raft.Server) *voterLink {
	if v := p.voters[s.Address]; v != nil {
		return v
	}
	ctx, cancel := context.WithCancel(p.l.ctx)
	v := &voterLink{mail: make(chan nonceQuestion, 1), cancel: cancel}
	p.voters[s.Address] = v
	a := p.l.node.transport.connTo(hostPort(s.Address), string(s.ID))
	p.asking.Go(func() {
		defer a.close()
		v.runUntilEnd(ctx, p.l.clock, string(s.ID), a)
	})
	return v
}

// offerQuestion replaces a question that was not taken: its round is over.
func (v *voterLink) offerQuestion(q nonceQuestion) {
	select {
	case <-v.mail:
	default:
	}
	v.mail <- q
}

func (v *voterLink) runUntilEnd(ctx context.Context, c *clock, id string, a *nodeConn) {
	for {
		select {
		case <-ctx.Done():
			return
		case q := <-v.mail:
			limited, cancel := context.WithTimeout(ctx, roundLimit)
			asked := time.Now()
			answer, err := a.askVoice(limited, q.nonce)
			cancel()
			q.votes <- nonceVote{term: answer.term, err: err}
			if err == nil {
				c.addSample(id, answer.wallMS, asked, time.Now())
				continue
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(askPause):
			}
		}
	}
}
