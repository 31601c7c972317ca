// Package clienttest is a cluster for a game's own tests: one real node, log and tables in memory, no sockets. It keeps
// to every rule that a cluster on real machines keeps to, since it is one; and it runs in the virtual time of
// testing/synctest, where a minute of silence takes no time.
package clienttest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/internal/clienthooks"
	"github.com/profilenode/profilenode/internal/memnet"
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
	served  chan error
	network *memnet.Network
	space   diskSpace

	mu          sync.Mutex
	gossipHosts map[string]string // IP address of each client that gossips, by its name
}

// Start starts a cluster, and stops it with the test.
func Start(t testing.TB) *Cluster {
	t.Helper()
	return startWith(t, func(*cluster.Config, *memnet.Network) {})
}

// startWith starts a cluster, after change has altered its node's configuration, and stops it with the test.
func startWith(t testing.TB, change func(*cluster.Config, *memnet.Network)) *Cluster {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := start(ctx, change)
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
	return start(ctx, func(*cluster.Config, *memnet.Network) {})
}

func start(ctx context.Context, change func(*cluster.Config, *memnet.Network)) (*Cluster, error) {
	hub := server.NewHub()
	config := cluster.DefaultConfig()
	config.Memory = true
	config.Bind, config.Advertise, config.Client = "node:7401", "node:7401", nodeAddress
	c := &Cluster{running: &running{served: make(chan error, 1), network: memnet.New(), gossipHosts: make(map[string]string)}}
	host := c.network.Host(nodeHost)
	config.Listen, config.Dial = host.Listen, host.Dial
	config.OnEvents = hub.Publish
	config.FreeBytes = c.space.freeBytes
	change(&config, c.network)
	clients, err := host.Listen("tcp", nodeAddress)
	if err != nil {
		return nil, fmt.Errorf("listen for clients: %w", err)
	}
	node, err := cluster.Open(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("start a node in memory: %w", err)
	}
	c.node = node
	c.server = server.New(server.Config{Node: node, Hub: hub, Version: "clienttest"})
	go func() { c.served <- c.server.Serve(clients) }()
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

// Close stops the cluster. Its stored data is gone.
func (c *Cluster) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c.network.HealAll() // the ends of cut connections arrive
	c.server.Close(ctx)
	err := <-c.served
	return errors.Join(err, c.node.Close(ctx))
}

// Config is that of a client with this name, to be changed and given to client.Open.
func (c *Cluster) Config(name string) client.Config {
	host := c.host(name)
	config := client.Config{Seeds: []string{nodeAddress}, Name: c.prefix + name, Insecure: true}
	hooks := clienthooks.Of(&config)
	hooks.StorePrefix = c.prefix
	hooks.Dial = func(ctx context.Context, node string) (net.Conn, error) { return host.Dial(ctx, "tcp", node) }
	hooks.ListenPing = func(context.Context, string) (net.Listener, error) { return host.Listen("tcp", ":0") }
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

// Expire ends the incarnation of the client with this name, as if it had been silent for a lease, though it lives: a game
// server that waits for one of its profiles gets it, and its other sessions are in doubt until they are reclaimed. To keep
// them from that, Disconnect it first.
func (c *Cluster) Expire(ctx context.Context, name string) error {
	for {
		gone, err := c.expire(ctx, name)
		if gone || err != nil {
			return err
		}
	}
}

// expire proposes one expiry; it is refused if the client did anything meanwhile.
func (c *Cluster) expire(ctx context.Context, name string) (gone bool, err error) {
	term, err := c.node.ConfirmLeadership(ctx)
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
			_, err := c.node.Propose(ctx, fsm.NewCommand(nil, &fsm.ExpireServers{Term: term, Expiries: []*fsm.Expiry{{
				Incarnation: uint64(s.Incarnation), Last: uint64(s.Last),
			}}}))
			return false, err
		}
	}
	return true, nil
}
