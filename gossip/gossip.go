// Package gossip says who seems alive, and is never sure.
//
// Members of a pool probe each other and pass on what they find, by hashicorp/memberlist, which nothing else of ours
// imports. A dead member is named within seconds; so may a living one be that was paused or cut off, and then it is named
// alive again. Nothing here decides: a verdict on a game server wants silence towards the leader as well, and no node
// loses its vote because of gossip. Read this file first, then table.go for what is remembered of whom.
package gossip

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// leaveTimeout bounds the leave-taking of Close. Telling a pool of 10,000 takes two rounds of 1.4 s, one of three 0.8 s in all.
const leaveTimeout = 3 * time.Second

// unmetRejoinFactor is by how many times sooner the seeds are tried while none has been met.
const unmetRejoinFactor = 10

// Pool is one membership of one pool.
type Pool struct {
	config    Config
	list      *memberlist.Memberlist
	table     *memberTable
	transport *transport

	stop         context.CancelFunc
	rejoin       sync.WaitGroup
	warnedNoSeed bool // it was said that no seed is reached; the joining goroutine's

	once sync.Once
	err  error
}

// Open takes part in a pool, and returns once it listens; the seeds are joined in the background, again and again. An
// error is either a fault of the configuration, one sentence for each, or an address that cannot be had.
func Open(c Config) (*Pool, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	transport, err := openTransport(c)
	if err != nil {
		return nil, err
	}
	p := &Pool{
		config:    c,
		transport: transport,
		table: &memberTable{
			now: c.Now, log: c.Log, self: c.Name, meta: c.Meta, remember: c.Remember,
			changed: make(chan struct{}, 1), members: make(map[string]Member),
		},
	}
	if p.list, err = memberlist.Create(p.memberlistConfig()); err != nil {
		_ = transport.Shutdown()
		return nil, fmt.Errorf("start gossip: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	p.rejoin.Go(func() { p.keepJoining(ctx) })
	return p, nil
}

func (p *Pool) memberlistConfig() *memberlist.Config {
	m := memberlist.DefaultLANConfig()
	m.Name = p.config.Name
	m.Label = p.config.Label
	m.SecretKey = p.config.Key
	m.Transport = p.transport
	m.Delegate, m.Events, m.Conflict = p.table, p.table, p.table
	m.Logger = newMemberlistLogger(p.config.Log, p.config.Quiet)
	m.ProbeInterval, m.ProbeTimeout = p.config.Probe, p.config.Probe/2
	m.SuspicionMult = p.config.Suspicion
	m.SuspicionMaxTimeoutMult = 4 // a lone suspect is dead after 8 s at the defaults, not 12
	return m
}

// Addr is the address that the others use, host:port.
func (p *Pool) Addr() string { return p.transport.advertise.String() }

// Members lists the others by name: the living, and for Config.Remember those who are gone, the latest thousand of them.
func (p *Pool) Members() []Member { return p.table.listMembers() }

// IsDead says whether a member is known and seems dead from here. Whoever reaches nobody at all says it of nobody: more
// likely it is itself cut off. It does not block.
func (p *Pool) IsDead(name string) bool { return p.table.isDead(name) }

// MemberState is how one member seems; ok is false for one that is not known, or not any more. It does not block.
func (p *Pool) MemberState(name string) (state State, ok bool) { return p.table.stateOf(name) }

// Changed receives after Members has changed. Changes that nobody has waited for are one, so look at all members then. It
// is for one reader, and stays silent after Close.
func (p *Pool) Changed() <-chan struct{} { return p.table.changed }

// Close tells the others that this member leaves, for at most three seconds and not beyond ctx, and ends. When ctx is over
// already it only ends, and the others find it dead. An error says that leaving was not heard; the pool is closed all the
// same. A probe that memberlist has under way outlives Close by a few times Probe, with nobody to tell of it.
func (p *Pool) Close(ctx context.Context) error {
	p.once.Do(func() {
		p.stop()
		p.err = p.announceLeaving(ctx)
		p.table.close()
		if err := p.list.Shutdown(); err != nil && p.err == nil {
			p.err = fmt.Errorf("stop gossip: %w", err)
		}
		p.rejoin.Wait()
	})
	return p.err
}

// announceLeaving marks our meta first, since whoever hears that we are gone must know by then that we went.
func (p *Pool) announceLeaving(ctx context.Context) error {
	if ctx.Err() != nil {
		return nil
	}
	until := time.Now().Add(leaveTimeout)
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(until) {
		until = deadline
	}
	half := time.Until(until) / 2
	if half <= 0 {
		return nil
	}
	p.table.leaving.Store(true)
	if err := p.list.UpdateNode(half); err != nil {
		p.config.Log.Debug("say that this member leaves gossip", "error", err)
	}
	if err := p.list.Leave(max(time.Until(until), time.Millisecond)); err != nil {
		return fmt.Errorf("leave gossip: %w", err)
	}
	return nil
}

// keepJoining joins the seeds from time to time, and more often while it has met none: in a cluster that has just begun there
// are none yet, and until the nodes have met they do not hear of all game servers.
func (p *Pool) keepJoining(ctx context.Context) {
	for {
		wait := p.config.Rejoin
		if p.config.Seeds != nil && !p.joinAny(ctx) {
			wait /= unmetRejoinFactor
		}
		next := time.NewTimer(wait)
		select {
		case <-next.C:
		case <-ctx.Done():
			next.Stop()
			return
		}
	}
}

// joinAny exchanges everything with each seed that does not seem alive. memberlist forgets the dead after half a minute, so
// this is the only way back between two halves. met says that some seed is alive.
func (p *Pool) joinAny(ctx context.Context) (met bool) {
	known := map[string]bool{p.Addr(): true}
	for _, m := range p.table.listMembers() {
		if m.State == Alive {
			known[m.Addr] = true
		}
	}
	seeds := slices.Clone(p.config.Seeds())
	rand.Shuffle(len(seeds), func(a, b int) { seeds[a], seeds[b] = seeds[b], seeds[a] })
	var found []netip.AddrPort
	for _, seed := range seeds {
		for _, at := range p.resolveSeed(ctx, seed) {
			if !known[at.String()] {
				found = append(found, at)
				continue
			}
			met = met || at.String() != p.Addr()
			if p.config.OneSeed && met {
				p.warnedNoSeed = false
				return met
			}
		}
	}
	var last error
	for _, at := range found {
		if ctx.Err() != nil || known[at.String()] {
			continue
		}
		known[at.String()] = true
		err := p.joinAt(at)
		met = met || err == nil
		switch {
		case err != nil:
			last = err
			p.config.Log.Debug("join gossip seed", "address", at, "error", err)
		case p.config.OneSeed:
			p.warnedNoSeed = false
			return met
		}
	}
	if p.config.OneSeed && last != nil && !p.warnedNoSeed && ctx.Err() == nil {
		p.warnedNoSeed = true // said once, until it is over
		p.config.Log.Warn("gossip reaches no seed, and goes on trying", "seeds", seeds, "error", last)
	}
	return met
}

// joinAt refuses a seed that could never reach us, or only its own host's loopback: it would find us dead.
func (p *Pool) joinAt(at netip.AddrPort) error {
	if own := p.transport.advertise; own.Addr().IsLoopback() != at.Addr().IsLoopback() {
		return fmt.Errorf("this member is at %s, which %s does not reach: bind or advertise another address", own, at)
	}
	_, err := p.list.Join([]string{at.String()})
	return err
}

func (p *Pool) resolveSeed(ctx context.Context, seed string) []netip.AddrPort {
	ctx, cancel := context.WithTimeout(ctx, lookUpTimeout)
	defer cancel()
	found, err := resolveAddress(ctx, seed)
	if err != nil && ctx.Err() == nil {
		p.config.Log.Warn("look up gossip seed", "seed", seed, "error", err)
	}
	return found
}
