// Package clienttest is a cluster for a game's own tests: one real node, log and tables in memory, no sockets. It keeps
// to every rule that a cluster on real machines keeps to, since it is one; and it runs in the virtual time of
// testing/synctest, where a minute of silence takes no time.
package clienttest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/test/bufconn"

	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/gossip/gossiptest"
	"github.com/profilenode/profilenode/internal/clienthooks"
	"github.com/profilenode/profilenode/internal/server"
)

// nodeAddress is where clients find the node. Nothing listens there but this package.
const nodeAddress = "node:7400"

// Cluster is a running one-node cluster, or a test's part of a shared one.
type Cluster struct {
	*running
	prefix string // of the names of stores and game servers
}

type running struct {
	node    *cluster.Node
	server  *server.Server
	clients *bufconn.Listener
	served  chan error
	network *gossiptest.Network // nil: nobody gossips

	mu       sync.Mutex
	links    map[string]*link // by client's name
	ports    map[string]*port // by address
	numbered int
	rumours  map[string]int // a number for each client that gossips
}

// Start starts a cluster, and stops it with the test.
func Start(t testing.TB) *Cluster {
	t.Helper()
	return within(t, nil, func(*cluster.Config) {})
}

// within starts a cluster, and stops it with the test.
func within(t testing.TB, network *gossiptest.Network, change func(*cluster.Config)) *Cluster {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := start(ctx, network, change)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("stop the cluster: %v", err)
		}
	})
	return c
}

// New starts a cluster outside of a test, for an Example. It returns once the node leads.
func New(ctx context.Context) (*Cluster, error) {
	return start(ctx, nil, func(*cluster.Config) {})
}

func start(ctx context.Context, network *gossiptest.Network, change func(*cluster.Config)) (*Cluster, error) {
	hub := server.NewHub()
	config := cluster.DefaultConfig()
	config.Memory = true
	config.Bind, config.Advertise, config.Client = "node:7401", "node:7401", nodeAddress
	config.Listen = func(string, string) (net.Listener, error) { return bufconn.Listen(1 << 20), nil }
	c := &Cluster{running: &running{
		clients: bufconn.Listen(1 << 20),
		served:  make(chan error, 1),
		links:   make(map[string]*link),
		ports:   make(map[string]*port),
		network: network,
		rumours: make(map[string]int),
	}}
	config.Dial = c.ping // there is no other node
	config.OnEvents = hub.Tell
	change(&config)
	node, err := cluster.Open(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("start a node in memory: %w", err)
	}
	c.node = node
	c.server = server.New(server.Config{Node: node, Hub: hub, Version: "clienttest"})
	go func() { c.served <- c.server.Serve(c.clients) }()
	select {
	case <-node.Ready():
		return c, nil
	case <-node.Done():
		err = node.Err()
	case <-ctx.Done():
		err = ctx.Err()
	}
	return nil, errors.Join(fmt.Errorf("wait for the node: %w", err), c.Close())
}

// Close stops the cluster. What it stored is gone.
func (c *Cluster) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c.mu.Lock()
	links := slices.Collect(maps.Values(c.links))
	c.mu.Unlock()
	for _, l := range links {
		l.bury(false)
	}
	c.server.Close(ctx)
	err := <-c.served
	return errors.Join(err, c.node.Close(ctx))
}

// Config is that of a client with this name, to be changed and given to client.Open.
func (c *Cluster) Config(name string) client.Config {
	l := c.link(name)
	config := client.Config{Seeds: []string{nodeAddress}, Name: c.prefix + name, Insecure: true}
	hooks := clienthooks.Of(&config)
	hooks.Dial, hooks.ListenPing, hooks.StorePrefix = l.dial, l.listen, c.prefix
	return config
}

// Client opens a client, and closes it with the test.
func (c *Cluster) Client(t testing.TB, name string) *client.Client {
	t.Helper()
	return c.Open(t, c.Config(name))
}

// Open opens a client with a configuration made of Config, and closes it with the test.
func (c *Cluster) Open(t testing.TB, config client.Config) *client.Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	opened, err := client.Open(ctx, config)
	if err != nil {
		t.Fatalf("open client %q: %v", config.Name, err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := opened.Shutdown(ctx); err != nil && !errors.Is(err, client.ErrClosed) {
			t.Logf("close client %q: %v", config.Name, err)
		}
	})
	return opened
}

// Expire ends the incarnation of the client with this name, as if it had been silent for a lease, though it lives: whoever
// waits for one of its profiles has it, and its other sessions are in doubt until they are reclaimed. To keep them from
// that, Disconnect it first.
func (c *Cluster) Expire(ctx context.Context, name string) error {
	for {
		gone, err := c.expire(ctx, name)
		if gone || err != nil {
			return err
		}
	}
}

// expire proposes one verdict; it is refused if the client did anything meanwhile.
func (c *Cluster) expire(ctx context.Context, name string) (gone bool, err error) {
	term, err := c.node.Prove(ctx)
	if err != nil {
		return false, fmt.Errorf("expire %q: %w", name, err)
	}
	view, err := c.node.View()
	if err != nil {
		return false, fmt.Errorf("expire %q: %w", name, err)
	}
	servers, err := view.Servers()
	if err := errors.Join(err, view.Close()); err != nil {
		return false, fmt.Errorf("expire %q: %w", name, err)
	}
	for _, s := range servers {
		if s.Name == c.prefix+name && s.Alive {
			_, err := c.node.Propose(ctx, fsm.Do(nil, &fsm.ExpireServers{Term: term, Verdicts: []*fsm.Verdict{{
				Incarnation: uint64(s.Incarnation), Last: uint64(s.Last),
			}}}))
			return false, err
		}
	}
	return true, nil
}
