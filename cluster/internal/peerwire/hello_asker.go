package peerwire

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

const (
	roundPeriod   = 500 * time.Millisecond // between the beginnings of two rounds
	waitingPeriod = 200 * time.Millisecond // the same while this node is in no cluster
	helloTimeout  = time.Second            // a node that takes longer has not answered
)

// HelloRound holds the answers of one round, in which every other node was asked for its hello.
type HelloRound struct {
	Number  uint64 // counts the rounds of this process, from 1
	Began   time.Time
	Own     Hello            // this node's, as the round began
	Servers []raft.Server    // raft's configuration as the round began; nil while this node is in no cluster
	Answers map[string]Hello // by the address that was asked
	Errors  map[string]error // of the nodes that did not answer, by address
	Members map[string]Hello // by node id: the answers of Servers, this node's included
}

// AskedNodes says which nodes a HelloAsker asks, and what this node says of itself.
type AskedNodes struct {
	Listed   []string             // addresses of the configuration, this node's own among them
	Servers  func() []raft.Server // of raft's configuration; nil while this node is in no cluster
	Own      func() Hello
	Question func() HelloQuestion
}

// HelloAsker asks the other nodes for their hellos, round after round, and keeps the answers of the last one. It asks by
// address, so that it also hears of a node that should not be there; Members holds only answers of the right node.
type HelloAsker struct {
	port  *Port
	nodes AskedNodes
	conns map[string]*Conn // by address; used by Run alone
	wake  chan struct{}    // holds a token while a round is wanted at once

	mu     sync.Mutex
	begun  uint64 // number of the last round that has begun
	last   *HelloRound
	ending chan struct{} // closed and replaced when a round ends
}

// NewHelloAsker returns an asker that asks once Run runs.
func (p *Port) NewHelloAsker(nodes AskedNodes) *HelloAsker {
	return &HelloAsker{
		port: p, nodes: nodes, conns: map[string]*Conn{}, wake: make(chan struct{}, 1),
		last: &HelloRound{}, ending: make(chan struct{}),
	}
}

// Run holds rounds until ctx ends. After each round it calls check, and begins no round before check has returned.
func (a *HelloAsker) Run(ctx context.Context, check func(*HelloRound)) {
	defer a.closeConns(nil)
	for {
		round := a.holdRound(ctx)
		if ctx.Err() != nil {
			return
		}
		a.mu.Lock()
		a.last = round
		close(a.ending)
		a.ending = make(chan struct{})
		a.mu.Unlock()
		check(round)
		period := roundPeriod
		if round.Servers == nil {
			period = waitingPeriod
		}
		pause := time.NewTimer(time.Until(round.Began.Add(period)))
		select {
		case <-ctx.Done():
			return
		case <-a.wake:
		case <-pause.C:
		}
		pause.Stop()
	}
}

// Last returns the last round that has ended. Before the first, it is an empty one with the number 0.
func (a *HelloAsker) Last() *HelloRound {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.last
}

// AwaitRound returns the next round that begins after the call, so that its answers are of a later time. ok is false when
// ctx ended before.
func (a *HelloAsker) AwaitRound(ctx context.Context) (round *HelloRound, ok bool) {
	a.mu.Lock()
	earlier := a.begun
	for a.last.Number <= earlier {
		ending := a.ending
		a.mu.Unlock()
		select {
		case <-ending:
		case <-ctx.Done():
			return nil, false
		}
		a.mu.Lock()
	}
	defer a.mu.Unlock()
	return a.last, ctx.Err() == nil
}

// AskNow lets the next round begin without a pause.
func (a *HelloAsker) AskNow() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// holdRound asks all nodes at the same time.
func (a *HelloAsker) holdRound(ctx context.Context) *HelloRound {
	a.mu.Lock()
	a.begun++
	number := a.begun
	a.mu.Unlock()
	round := &HelloRound{
		Number: number, Began: time.Now(), Own: a.nodes.Own(), Servers: a.nodes.Servers(),
		Answers: map[string]Hello{}, Errors: map[string]error{},
	}
	addresses := slices.Clone(a.nodes.Listed)
	for _, s := range round.Servers {
		if address := HostPort(s.Address); string(s.ID) != round.Own.ID && !slices.Contains(addresses, address) {
			addresses = append(addresses, address)
		}
	}
	question := a.nodes.Question()
	ctx, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	var asking sync.WaitGroup
	var mu sync.Mutex
	for _, address := range addresses {
		c := a.conns[address]
		if c == nil {
			c = a.port.ConnTo(address, "")
			a.conns[address] = c
		}
		asking.Go(func() {
			h, err := c.AskHello(ctx, question)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				round.Errors[address] = err
				return
			}
			round.Answers[address] = h
		})
	}
	asking.Wait()
	a.closeConns(addresses)
	round.findMembers()
	return round
}

// findMembers takes the members' answers out of all. An answer of another node, or of another cluster, is none.
func (r *HelloRound) findMembers() {
	r.Members = map[string]Hello{}
	for _, s := range r.Servers {
		id := string(s.ID)
		if id == r.Own.ID {
			r.Members[id] = r.Own
			continue
		}
		if h, ok := r.Answers[HostPort(s.Address)]; ok && h.ID == id && h.Member && h.Cluster == r.Own.Cluster {
			r.Members[id] = h
		}
	}
}

// SortedMembers returns the members' answers in the order of ids.
func (r *HelloRound) SortedMembers() []Hello {
	return slices.SortedFunc(maps.Values(r.Members), func(a, b Hello) int { return cmp.Compare(a.ID, b.ID) })
}

// closeConns closes the connections to all addresses but the given ones.
func (a *HelloAsker) closeConns(but []string) {
	maps.DeleteFunc(a.conns, func(address string, c *Conn) bool {
		gone := !slices.Contains(but, address)
		if gone {
			c.Close()
		}
		return gone
	})
}
