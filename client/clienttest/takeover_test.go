package clienttest_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/client/clienttest"
	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/cluster/clustertest"
	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/internal/clienthooks"
	"github.com/profilenode/profilenode/internal/server"
	"github.com/profilenode/profilenode/lock"
)

// town is three nodes with their services, and game servers on hosts of their own.
type town struct {
	t       *testing.T
	c       *clustertest.Cluster
	servers []*server.Server

	mu       sync.Mutex
	rejected map[string]bool // hosts that the nodes' firewalls reject
}

func newTown(t *testing.T) *town {
	t.Helper()
	w := &town{t: t, rejected: map[string]bool{}}
	var hubs []*server.Hub
	w.c = clustertest.Start(t, 3, func(_ int, c *cluster.Config) {
		hub := server.NewHub()
		hubs = append(hubs, hub)
		c.OnEvents = hub.Publish
		dial := c.Dial
		c.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			host, _, _ := net.SplitHostPort(address)
			w.mu.Lock()
			rejected := w.rejected[host]
			w.mu.Unlock()
			if rejected {
				return nil, syscall.ECONNREFUSED
			}
			return dial(ctx, network, address)
		}
	})
	w.c.Ready()
	var serving sync.WaitGroup
	for i, n := range w.c.Nodes {
		s := server.New(server.Config{Node: n, Hub: hubs[i]})
		lis, err := w.c.Network.Host(clustertest.Name(i)).Listen("tcp", clustertest.Name(i)+":7400")
		if err != nil {
			t.Fatal(err)
		}
		w.servers = append(w.servers, s)
		serving.Go(func() {
			if err := s.Serve(lis); err != nil {
				t.Errorf("serve: %v", err)
			}
		})
	}
	t.Cleanup(func() {
		for i := range w.servers {
			w.stop(i)
		}
		serving.Wait()
	})
	return w
}

func (w *town) reject(host string, is bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rejected[host] = is
}

// stop ends the service of a node as a crash does, and the node.
func (w *town) stop(i int) {
	over, cancel := context.WithCancel(context.Background())
	cancel()
	w.servers[i].Close(over)
	if w.c.Nodes[i] != nil {
		w.c.Kill(i)
	}
}

// process is a game server on a host of its own.
type process struct {
	*client.Client
	mu    sync.Mutex
	dead  bool
	conns []net.Conn
	port  net.Listener
}

func (w *town) process(name, host string) *process {
	w.t.Helper()
	p := &process{}
	at := w.c.Network.Host(host)
	config := client.Config{Seeds: []string{"n0:7400", "n1:7400", "n2:7400"}, Name: name, Insecure: true, Autosave: -1}
	hooks := clienthooks.Of(&config)
	hooks.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
		c, err := at.Dial(ctx, "tcp", addr)
		p.mu.Lock()
		defer p.mu.Unlock()
		if err == nil && p.dead {
			_ = c.Close()
			err = errors.New("this process is dead")
		}
		if err == nil {
			p.conns = append(p.conns, c)
		}
		return c, err
	}
	hooks.ListenPing = func(context.Context, string) (_ net.Listener, err error) {
		p.port, err = at.Listen("tcp", host+":0")
		return p.port, err
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	defer cancel()
	opened, err := client.Open(ctx, config)
	if err != nil {
		w.t.Fatal(err)
	}
	p.Client = opened
	w.t.Cleanup(func() {
		soon, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		_ = opened.Shutdown(soon) // its cluster may be gone
	})
	return p
}

// reset ends all its connections, as a firewall does or the death of the process.
func (p *process) reset() {
	p.mu.Lock()
	conns := p.conns
	p.conns = nil
	p.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
	}
}

func (p *process) kill() {
	p.mu.Lock()
	p.dead = true
	p.mu.Unlock()
	_ = p.port.Close()
	p.reset()
}

// ground waits for the end of a game server and returns the ground of its expiry.
func (w *town) ground(name string) (found lock.Ground) {
	w.t.Helper()
	n := w.c.Nodes[w.c.Leader()]
	w.c.Until(name+" to be gone", func() bool {
		view, err := n.View()
		if err != nil {
			w.t.Fatal(err)
		}
		defer view.Close()
		rows, err := view.Servers()
		if err != nil {
			w.t.Fatal(err)
		}
		at := slices.IndexFunc(rows, func(s fsm.Server) bool { return s.Name == name })
		if rows[at].Alive {
			return false
		}
		found = rows[at].Ground
		return true
	})
	return found
}

func TestTakeover(t *testing.T) {
	tests := []struct {
		name        string
		fault       func(w *town, owner *process) // before the kill
		kill        func(w *town, owner *process) // nil: kill
		ground      lock.Ground
		least, most time.Duration
	}{
		{name: "killed", ground: lock.Proof, least: 250 * time.Millisecond, most: 400 * time.Millisecond},
		{name: "killed at once", fault: func(*town, *process) {}, ground: lock.Proof, least: 250 * time.Millisecond, most: 400 * time.Millisecond},
		{
			name: "killed after a change of lead",
			fault: func(w *town, _ *process) {
				w.stop(w.c.Leader())
				w.c.Leader()
				time.Sleep(5 * time.Second)
			},
			ground: lock.Proof, least: 250 * time.Millisecond, most: 400 * time.Millisecond,
		},
		{
			name: "killed, behind a new leader whose firewall rejects its host",
			fault: func(w *town, _ *process) {
				w.reject("gs", true)
				w.stop(w.c.Leader())
				w.c.Leader()
				time.Sleep(5 * time.Second)
			},
			ground: lock.Evidence, least: 3500 * time.Millisecond, most: 5 * time.Second,
		},
		{
			name:   "its host lost",
			kill:   func(w *town, _ *process) { w.c.Network.Isolate("gs", "n0", "n1", "n2") },
			ground: lock.Silence, least: 9 * time.Second, most: 11 * time.Second,
		},
		{
			name: "another process took its port",
			kill: func(w *town, owner *process) {
				owner.kill()
				l, err := w.c.Network.Host("gs").Listen("tcp", owner.port.Addr().String())
				if err != nil {
					w.t.Fatal(err)
				}
				var answering sync.WaitGroup
				answering.Go(func() {
					frame := lock.PingFrame(1)
					for {
						c, err := l.Accept()
						if err != nil {
							return
						}
						_, _ = c.Write(frame[:])
						_ = c.Close()
					}
				})
				w.t.Cleanup(func() {
					_ = l.Close()
					answering.Wait()
				})
			},
			ground: lock.Proof, least: 0, most: 100 * time.Millisecond,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newTown(t)
				owner, heir := w.process("owner", "gs"), w.process("heir", "gs-heir")
				p, err := clienttest.Store(t, owner.Client, "players", player{}).StartSession(t.Context(), "ann")
				if err != nil {
					t.Fatal(err)
				}
				if test.fault == nil {
					time.Sleep(90 * time.Second)
				} else {
					test.fault(w, owner)
				}
				if !p.IsActive() {
					t.Fatalf("before the fault the session is %v", p.State())
				}
				at := time.Now()
				if test.kill == nil {
					owner.kill()
				} else {
					test.kill(w, owner)
				}
				if _, err := clienttest.Store(t, heir.Client, "players", player{}).StartSession(t.Context(), "ann"); err != nil {
					t.Fatal(err)
				}
				if passed := time.Since(at); passed < test.least || passed > test.most {
					t.Errorf("taken over after %v, want %v to %v", passed, test.least, test.most)
				}
				if got := w.ground("owner"); got != test.ground {
					t.Errorf("on the ground of %v, want %v", got, test.ground)
				}
			})
		})
	}
}

// A game server that died and was started again has its profiles back as soon as its death is proven.
func TestARestartedGameServerHasItsProfilesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		owner := w.process("owner", "gs")
		if _, err := clienttest.Store(t, owner.Client, "players", player{}).StartSession(t.Context(), "ann"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Second)
		at := time.Now()
		owner.kill()
		again := w.process("owner", "gs")
		p, err := clienttest.Store(t, again.Client, "players", player{}).StartSession(t.Context(), "ann", client.IfOwnedRefuse)
		if err != nil {
			t.Fatal(err)
		}
		if passed := time.Since(at); passed > time.Second || p.Loads() != 2 {
			t.Errorf("it has its profile back after %v, as load %d", passed, p.Loads())
		}
	})
}

// A firewall that resets every connection and rejects every ping, for a while or for good, takes no profile from a game
// server that can still renew its lease.
func TestAFirewallRobsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		owner := w.process("owner", "gs")
		p, err := clienttest.Store(t, owner.Client, "players", player{}).StartSession(t.Context(), "ann")
		if err != nil {
			t.Fatal(err)
		}
		store := clienttest.Store(t, owner.Client, "players", player{})
		before := ownerOf(t, store)
		for round := range 40 {
			time.Sleep(time.Second)
			w.reject("gs", round%4 != 0)
			owner.reset()
		}
		time.Sleep(5 * time.Second)
		if !p.IsActive() {
			t.Errorf("the session is %v, %v; want held", p.State(), p.Err())
		}
		if after := ownerOf(t, store); after != before {
			t.Errorf("it was ended: its incarnation was %d and is %d", before, after)
		}
	})
}
