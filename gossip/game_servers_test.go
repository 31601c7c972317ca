package gossip_test

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/profilenode/profilenode/gossip"
)

// fleet is nodes and game servers in one pool.
type fleet struct {
	network
	nodes []*gossip.Pool
	log   logLines
}

var someCluster = []byte("0123456789abcdef")

func newFleet(t *testing.T, nodes int) *fleet {
	f := &fleet{network: newNetwork(t)}
	for i := range nodes {
		p, err := f.config(address(i)).OpenNode(name(i), f.seeds(nodes), nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { kill(t, p) })
		f.nodes = append(f.nodes, p)
	}
	return f
}

func (f *fleet) config(at string) gossip.ServerConfig {
	c := gossip.ServerConfig{Bind: at, Key: []byte("0123456789abcdef")}
	c.Listen, c.ListenPacket, c.Dial = f.listenAt(at)
	return c
}

func (f *fleet) seeds(nodes int) func() []string {
	return func() []string {
		var seeds []string
		for i := range nodes {
			seeds = append(seeds, address(i))
		}
		return seeds
	}
}

// enter makes a game server a member, which ends without a goodbye when the test does.
func (f *fleet) enter(t *testing.T, inc uint64, c gossip.ServerConfig) (leave func(context.Context) error) {
	t.Helper()
	leave, err := c.Join(someCluster, inc, f.seeds(len(f.nodes)), slog.New(slog.NewTextHandler(&f.log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		over, cancel := context.WithCancel(context.Background())
		cancel()
		_ = leave(over)
	})
	return leave
}

type logLines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

var members = flag.Int("members", 0, "game servers in one more run of TestALostGameServerIsKnownBeforeItsSilenceCounts")

// Silence counts as evidence after 4.5 s: by then every node should know, as a rule. Which member probes the lost one, and
// when, is random, so it may take longer; after 10 s silence counts alone. With very many:
//
//	go test ./gossip -run BeforeItsSilenceCounts -members 1000 -timeout 0 -v
func TestALostGameServerIsKnownBeforeItsSilenceCounts(t *testing.T) {
	for _, servers := range []int{1, 4, 40, *members} {
		if servers == 0 {
			continue
		}
		t.Run(fmt.Sprint(servers), func(t *testing.T) {
			if servers > 10 && testing.Short() {
				t.Skip("many members")
			}
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, 3)
				for i := range servers {
					f.enter(t, uint64(i+1), f.config(address(10+i)))
				}
				time.Sleep(30 * time.Second)
				var times []time.Duration
				for victim := range min(servers, 5) {
					lost := gossip.ServerName(someCluster, uint64(victim+1))
					if state, ok := f.nodes[0].MemberState(lost); !ok || state != gossip.Alive {
						t.Fatalf("before: %v, %t, want alive", state, ok)
					}
					f.Unplug(hostOf(address(10 + victim)))
					at := time.Now()
					for _, n := range f.nodes {
						for !n.IsDead(lost) && time.Since(at) < time.Minute {
							time.Sleep(10 * time.Millisecond)
						}
					}
					took := time.Since(at)
					times = append(times, took)
					t.Logf("the last node knew after %v", took)
					if took > 10*time.Second {
						t.Errorf("the last node knew after %v, want within 10 s", took)
					}
					time.Sleep(2 * time.Second)
				}
				slices.Sort(times)
				if middle := times[len(times)/2]; len(times) == 5 && middle > 4500*time.Millisecond {
					t.Errorf("half of the times were %v and more, want less than 4.5 s", middle)
				}
				for i := range servers {
					if dead := f.nodes[0].IsDead(gossip.ServerName(someCluster, uint64(i+1))); dead != (i < 5) {
						t.Errorf("game server %d dead: %v", i+1, dead)
					}
				}
			})
		})
	}
}

// A node that has come back is joined by the other nodes, and not by every game server.
func TestAReturningSeedIsNotStormed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 3)
		const servers = 20
		for i := range servers {
			f.enter(t, uint64(i+1), f.config(address(10+i)))
		}
		time.Sleep(30 * time.Second)
		f.Unplug(hostOf(address(2)))
		time.Sleep(time.Minute)
		f.Plug(hostOf(address(2)))
		before := f.dials.Load()
		time.Sleep(12 * time.Second)
		// Each member exchanges its whole state with another every 30 s anyway, and nodes with a lost one every 10 s.
		if got, most := f.dials.Load()-before, int64(servers); got > most {
			t.Errorf("%d streams within 12 s of the return, want at most %d", got, most)
		}
		if state, ok := f.nodes[0].MemberState(name(2)); !ok || state != gossip.Alive {
			t.Errorf("the node that came back seems %v, %t, want alive", state, ok)
		}
	})
}

// A member that advertised a loopback address to another machine would be found dead there, on that machine's own loopback.
func TestALoopbackAddressIsNotTakenToOtherMachines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fleet{network: newNetwork(t)}
		far := "10.1.2.3:7404"
		node, err := f.config(far).OpenNode("node", func() []string { return nil }, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { kill(t, node) })
		leave, err := f.config(address(1)).Join(someCluster, 1, func() []string { return []string{far} }, slog.New(slog.NewTextHandler(&f.log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if got := node.Members(); len(got) != 0 {
			t.Errorf("the node knows %v, want none", got)
		}
		if got := strings.Count(f.log.String(), "gossip reaches no seed"); got != 1 || !strings.Contains(f.log.String(), "bind or advertise another address") {
			t.Errorf("it was said %d times, want once, and what to do:\n%s", got, f.log.String())
		}
		if err := leave(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestServerNamesAreOfOneClusterAndOneIncarnation(t *testing.T) {
	names := map[string]bool{}
	for _, cluster := range [][]byte{someCluster, []byte("fedcba9876543210")} {
		for _, inc := range []uint64{1, 2, 36, 1<<64 - 1} {
			names[gossip.ServerName(cluster, inc)] = true
		}
	}
	if len(names) != 8 {
		t.Errorf("8 incarnations have %d names: %v", len(names), names)
	}
}
