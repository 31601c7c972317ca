package gossip_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/profilenode/profilenode/gossip"
	"github.com/profilenode/profilenode/internal/memnet"
)

func TestThreeOnLoopback(t *testing.T) {
	var seeds []string
	pools := make([]*gossip.Pool, 3)
	for i := range pools {
		c := gossip.DefaultConfig()
		c.Name, c.Bind, c.Meta = fmt.Sprintf("node-%d.1", i), "127.0.0.1:0", []byte{byte(i), 0, 255}
		c.Key = bytes.Repeat([]byte{7}, 32)
		joined := slices.Clone(seeds)
		c.Seeds = func() []string { return joined }
		pools[i] = open(t, c)
		seeds = append(seeds, pools[i].Addr())
	}
	for i, p := range pools {
		want := make(map[string]gossip.State)
		for j := range pools {
			if j != i {
				want[fmt.Sprintf("node-%d.1", j)] = gossip.Alive
			}
		}
		waitFor(t, p, want)
	}
	got := pools[0].Members()[1]
	if !bytes.Equal(got.Meta, []byte{2, 0, 255}) || got.Addr != pools[2].Addr() {
		t.Errorf("node-2.1 has meta %v at %s, want [2 0 255] at %s", got.Meta, got.Addr, pools[2].Addr())
	}

	if err := pools[2].Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	waitFor(t, pools[0], map[string]gossip.State{"node-1.1": gossip.Alive, "node-2.1": gossip.Left})
	waitFor(t, pools[1], map[string]gossip.State{"node-0.1": gossip.Alive, "node-2.1": gossip.Left})
}

func TestLeftAndDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		pools := n.pools(t, 4)
		time.Sleep(5 * time.Second)
		wantMembers(t, pools[0], states(gossip.Alive, 1, 2, 3))

		start := time.Now()
		kill(t, pools[1])
		waitFor(t, pools[0], map[string]gossip.State{name(1): gossip.Dead, name(2): gossip.Alive, name(3): gossip.Alive})
		if took := time.Since(start); took > 6*time.Second {
			t.Errorf("the dead one was known after %v, want within 6s", took)
		}
		if err := pools[2].Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		waitFor(t, pools[0], map[string]gossip.State{name(1): gossip.Dead, name(2): gossip.Left, name(3): gossip.Alive})
		waitFor(t, pools[3], map[string]gossip.State{name(1): gossip.Dead, name(2): gossip.Left, name(0): gossip.Alive})
		if since := pools[0].Members()[0].Since; since.Before(start) || since.After(time.Now()) {
			t.Errorf("dead since %v, want between %v and now", since, start)
		}

		time.Sleep(gossip.DefaultConfig().Remember + time.Minute)
		wantMembers(t, pools[0], states(gossip.Alive, 3))
	})
}

func TestOverCutIsNotLeaving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		pools := n.pools(t, 3)
		time.Sleep(5 * time.Second)
		n.Unplug(hostOf(address(2)))
		time.Sleep(10 * time.Second)
		want := states(gossip.Alive, 1)
		want[name(2)] = gossip.Dead
		wantMembers(t, pools[0], want)
		wantMembers(t, pools[2], states(gossip.Dead, 0, 1))

		n.Plug(hostOf(address(2)))
		time.Sleep(20 * time.Second)
		wantMembers(t, pools[0], states(gossip.Alive, 1, 2))
		wantMembers(t, pools[2], states(gossip.Alive, 0, 1))
	})
}

// In a new cluster the log names no other node yet. They meet soon after it does.
func TestSeedsThatComeLaterAreMetSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		began := time.Now()
		pools := n.pools(t, 2, func(c *gossip.Config) {
			seeds := c.Seeds
			c.Rejoin = 20 * time.Second
			c.Seeds = func() []string {
				if time.Since(began) < 3*time.Second {
					return nil
				}
				return seeds()
			}
		})
		waitFor(t, pools[0], states(gossip.Alive, 1))
		if took := time.Since(began); took > 6*time.Second {
			t.Errorf("they met after %v, want within 6 s", took)
		}
	})
}

// After half a minute memberlist has forgotten the dead members and no longer contacts them: only the seeds lead back.
func TestHalvesMergeByRejoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		pools := n.pools(t, 4, func(c *gossip.Config) { c.Rejoin = 10 * time.Minute })
		time.Sleep(time.Minute)
		wantMembers(t, pools[0], states(gossip.Alive, 1, 2, 3))

		n.separate()
		time.Sleep(4 * time.Minute)
		n.HealAll()
		time.Sleep(4 * time.Minute)
		want := states(gossip.Dead, 2, 3)
		want[name(1)] = gossip.Alive
		wantMembers(t, pools[0], want)

		time.Sleep(2 * time.Minute)
		for i, p := range pools {
			want := states(gossip.Alive, 0, 1, 2, 3)
			delete(want, name(i))
			wantMembers(t, p, want)
		}
	})
}

func TestStrangersNeverJoin(t *testing.T) {
	key := bytes.Repeat([]byte{1}, 16)
	for what, change := range map[string]func(*gossip.Config){
		"other key":   func(c *gossip.Config) { c.Key = bytes.Repeat([]byte{2}, 16) },
		"no key":      func(c *gossip.Config) { c.Key = nil },
		"other label": func(c *gossip.Config) { c.Label = "staging" },
		"other both":  func(c *gossip.Config) { c.Key, c.Label = nil, "staging" },
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t)
				pools := n.pools(t, 3, func(c *gossip.Config) {
					c.Key = key
					if c.Name == name(2) {
						change(c)
					}
				})
				time.Sleep(time.Minute)
				wantMembers(t, pools[0], states(gossip.Alive, 1))
				wantMembers(t, pools[1], states(gossip.Alive, 0))
				wantMembers(t, pools[2], nil)
			})
		})
	}
}

func TestNameInUseIsRefusedElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		pools := n.pools(t, 2)
		time.Sleep(5 * time.Second)
		c := n.config(2)
		c.Name = name(1)
		c.Seeds = func() []string { return []string{address(0)} }
		open(t, c)
		time.Sleep(time.Minute)
		members := pools[0].Members()
		if len(members) != 1 || members[0].Addr != address(1) || members[0].State != gossip.Alive {
			t.Errorf("members are %v, want %s alive at %s alone", members, name(1), address(1))
		}
	})
}

func TestGoneAreBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("a thousand members")
	}
	synctest.Test(t, func(t *testing.T) {
		const most = 1024
		n := newNetwork(t)
		one := n.pools(t, 1, func(c *gossip.Config) { c.Remember = 24 * time.Hour })[0]
		for i := range most + 10 {
			c := n.config(i + 1)
			c.Seeds = func() []string { return []string{address(0)} }
			p := open(t, c)
			time.Sleep(100 * time.Millisecond)
			if err := p.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		members := one.Members()
		if len(members) != most {
			t.Errorf("%d members are remembered, want %d", len(members), most)
		}
		if first := members[0].Name; first != name(11) {
			t.Errorf("the oldest that is remembered is %s, want %s", first, name(11))
		}
	})
}

func TestLivingSeedsAreLeftInPeace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		n.pools(t, 3, func(c *gossip.Config) { c.Rejoin = time.Second })
		time.Sleep(10 * time.Second)
		before := n.dials.Load()
		time.Sleep(5 * time.Minute)
		// Each member exchanges its whole state with another every 30 s anyway.
		if got, want := n.dials.Load()-before, int64(3*11); got > want {
			t.Errorf("%d streams in five minutes, want at most %d", got, want)
		}
	})
}

func TestCloseIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		pools := n.pools(t, 3)
		time.Sleep(5 * time.Second)
		n.Unplug(hostOf(address(0)))
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		_ = pools[0].Close(ctx) // an error that no member heard it is possible
		if took := time.Since(start); took > 301*time.Millisecond {
			t.Errorf("Close took %v with 300ms to spend", took)
		}
		_ = pools[0].Close(t.Context())
		if took := time.Since(start); took > 301*time.Millisecond {
			t.Errorf("a second Close took %v", took-300*time.Millisecond)
		}
	})
}

// network has one host for each pool.
type network struct {
	*memnet.Network
	dials *atomic.Int64
}

// newNetwork is called before the pools are opened, so that its cleanup runs last: it waits for the probes under way.
func newNetwork(t testing.TB) network {
	t.Cleanup(func() { time.Sleep(time.Minute) })
	return network{memnet.New(), &atomic.Int64{}}
}

// listenAt returns the functions that a pool at an address needs of the network. Dials are counted.
func (n network) listenAt(address string) (
	listen func(string, string) (net.Listener, error), listenPacket func(string, string) (net.PacketConn, error),
	dial func(context.Context, string, string) (net.Conn, error),
) {
	host := n.Host(hostOf(address))
	return host.Listen, host.ListenPacket, func(ctx context.Context, network, to string) (net.Conn, error) {
		n.dials.Add(1)
		return host.Dial(ctx, network, to)
	}
}

// separate cuts the first two hosts off from the next two.
func (n network) separate() {
	for _, i := range []int{2, 3} {
		n.Isolate(hostOf(address(i)), hostOf(address(0)), hostOf(address(1)))
	}
}

func hostOf(address string) string {
	host, _, _ := net.SplitHostPort(address)
	return host
}

// pools opens n pools that have each other for seeds.
func (n network) pools(t *testing.T, count int, changes ...func(*gossip.Config)) []*gossip.Pool {
	t.Helper()
	var seeds []string
	for i := range count {
		seeds = append(seeds, address(i))
	}
	pools := make([]*gossip.Pool, count)
	for i := range pools {
		c := n.config(i)
		c.Seeds = func() []string { return seeds }
		for _, change := range changes {
			change(&c)
		}
		pools[i] = open(t, c)
	}
	return pools
}

func (n network) config(i int) gossip.Config {
	c := gossip.DefaultConfig()
	c.Name, c.Bind = name(i), address(i)
	c.Listen, c.ListenPacket, c.Dial = n.listenAt(c.Bind)
	return c
}

func name(i int) string    { return fmt.Sprintf("node-%04d", i) }
func address(i int) string { return fmt.Sprintf("127.0.%d.%d:7402", 1+i/250, 1+i%250) }

func states(s gossip.State, members ...int) map[string]gossip.State {
	want := make(map[string]gossip.State)
	for _, i := range members {
		want[name(i)] = s
	}
	return want
}

func open(t *testing.T, c gossip.Config) *gossip.Pool {
	t.Helper()
	p, err := gossip.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kill(t, p) })
	return p
}

// kill ends a pool without telling the others.
func kill(t *testing.T, p *gossip.Pool) {
	t.Helper()
	over, cancel := context.WithCancel(context.Background())
	cancel()
	_ = p.Close(over)
}

func seen(p *gossip.Pool) map[string]gossip.State {
	got := make(map[string]gossip.State)
	for _, m := range p.Members() {
		got[m.Name] = m.State
	}
	return got
}

func wantMembers(t *testing.T, p *gossip.Pool, want map[string]gossip.State) {
	t.Helper()
	if got := seen(p); !maps.Equal(got, want) {
		t.Errorf("members at %s are %v, want %v", p.Addr(), got, want)
	}
}

func waitFor(t *testing.T, p *gossip.Pool, want map[string]gossip.State) {
	t.Helper()
	late := time.After(30 * time.Second)
	for !maps.Equal(seen(p), want) {
		select {
		case <-p.Changed():
		case <-late:
			t.Fatalf("members at %s are %v, want %v", p.Addr(), seen(p), want)
		}
	}
}
