// Package gossip says which members of a pool seem alive. Its word is advice, never proof.
//
// Members probe each other and pass on the results, by hashicorp/memberlist, which only this package imports. A dead
// member is reported within seconds. A living member that was paused or cut off may be reported dead too, and is reported
// alive again afterwards. So nothing is decided here: an expiry of a game server also needs silence towards the leader,
// and no node loses its vote because of gossip. Read this file first, then member_table.go for the members that are
// remembered.
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

// leaveTimeout bounds how long Close spends on telling the others. A pool of 10,000 members takes two rounds of 1.4 s, a
// pool of three takes 0.8 s in all.
const leaveTimeout = 3 * time.Second

// unmetRejoinFactor divides the time to the next try of the seeds while no seed has been met.
const unmetRejoinFactor = 10

// Pool is one membership of one pool.
type Pool struct {
	config    Config
	list      *memberlist.Memberlist
	table     *memberTable
	transport *transport

	stop         context.CancelFunc
	rejoin       sync.WaitGroup
	warnedNoSeed bool // a warning that no seed is reached was logged; only the goroutine of keepJoining uses it

	once sync.Once
	err  error
}

// Open takes part in a pool, and returns once it listens; the seeds are joined in the background, every Config.Rejoin. An
// error states the faults of the configuration, one sentence for each, or an address that cannot be listened on. After
// ErrUnresolved the caller may try again.
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
	m.SuspicionMaxTimeoutMult = 4 // a suspect that only one member suspects is dead after 8 s at the defaults, not 12
	return m
}

// Addr is the address that the others use, host:port.
func (p *Pool) Addr() string { return p.transport.advertise.String() }

// Members lists the other members by name: the living ones, and those that were lost or left within Config.Remember, the
// latest 1,024 of them.
func (p *Pool) Members() []Member { return p.table.listMembers() }

// IsDead says whether a member is known and seems dead from here. It is false of every member while this one reaches no
// other, since then this one is more likely to be cut off itself. It does not block.
func (p *Pool) IsDead(name string) bool { return p.table.isDead(name) }

// MemberState returns the state of one member; ok is false for a member that was never known or was forgotten. It does not
// block.
func (p *Pool) MemberState(name string) (state State, ok bool) { return p.table.stateOf(name) }

// Changed receives after Members has changed. Changes that were not received are merged into one, so read all members
// then. It is for one reader, and stays silent after Close.
func (p *Pool) Changed() <-chan struct{} { return p.table.changed }

// Close tells the others that this member leaves, for at most three seconds and not beyond ctx, and ends. When ctx is
// already over it ends without telling, and the others find this member dead. An error says that the others were not
// told; the pool is closed all the same. A probe that memberlist has under way outlives Close by a few times Probe; its
// result is dropped.
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

// announceLeaving marks this member's meta before it leaves: a member that hears of the departure must already know that
// it is a goodbye and not a death, and memberlist's callback does not tell the two apart.
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

// keepJoining joins the seeds every Config.Rejoin, and more often while it has met none: a new cluster has no seeds yet,
// and nodes that have not met do not hear of each other's game servers.
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

// joinAny exchanges the whole state with each seed that does not seem alive. memberlist forgets dead members after half a
// minute, so this is the only way in which two separated halves merge again. met says that some seed is alive.
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
		p.warnedNoSeed = true // warn once, and again only after a seed was reached in between
		p.config.Log.Warn("gossip reaches no seed and keeps trying: check that the seeds run and that their ports are open", "seeds", seeds, "error", last)
	}
	return met
}

// joinAt refuses a seed on another host while this member advertises a loopback address, and the reverse: the seed would
// probe its own host's loopback, and find this member dead.
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
