// Package clustertest makes clusters of real nodes over a network in memory, for tests in real or virtual time.
package clustertest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/internal/memnet"
)

// Cluster is nodes n0, n1, ... that keep everything in memory: one that was stopped comes back as a new node at the old
// address.
type Cluster struct {
	Network *memnet.Network
	Nodes   []*cluster.Node // nil: stopped

	t       testing.TB
	configs []cluster.Config
}

// Name is the host of node i.
func Name(i int) string { return fmt.Sprintf("n%d", i) }

// Start runs count nodes and stops them with the test. change may alter the configuration of each before it starts.
func Start(t testing.TB, count int, change func(i int, c *cluster.Config)) *Cluster {
	t.Helper()
	c := &Cluster{Network: memnet.New(), t: t}
	var nodes []string
	for i := range count {
		nodes = append(nodes, Name(i)+":7401")
	}
	for range count {
		c.Add(nodes, change)
	}
	t.Cleanup(c.Stop)
	return c
}

// Add starts one more node, which is told of nodes, and returns its number.
func (c *Cluster) Add(nodes []string, change func(i int, c *cluster.Config)) int {
	c.t.Helper()
	i := len(c.configs)
	host := c.Network.Host(Name(i))
	config := cluster.DefaultConfig()
	config.Memory = true
	config.Bind = Name(i) + ":7401"
	config.Client = Name(i) + ":7400"
	config.Nodes = nodes
	config.Listen, config.Dial = host.Listen, host.Dial
	if change != nil {
		change(i, &config)
	}
	c.configs = append(c.configs, config)
	c.Nodes = append(c.Nodes, nil)
	c.Open(i)
	return i
}

// Open starts node i, which must be stopped.
func (c *Cluster) Open(i int) {
	c.t.Helper()
	if err := c.TryOpen(i); err != nil {
		c.t.Fatalf("open node %d: %v", i, err)
	}
}

// TryOpen starts node i, which must be stopped, if it can be started.
func (c *Cluster) TryOpen(i int) error {
	n, err := cluster.Open(context.Background(), c.configs[i])
	if err == nil {
		c.Nodes[i] = n
	}
	return err
}

// Reopen starts node i, which must be stopped, with another configuration.
func (c *Cluster) Reopen(i int, change func(*cluster.Config)) {
	c.t.Helper()
	change(&c.configs[i])
	c.Open(i)
}

// Kill stops node i without a word to the others.
func (c *Cluster) Kill(i int) {
	c.t.Helper()
	over, cancel := context.WithCancel(context.Background())
	cancel()
	c.close(over, i)
}

// Stop closes all nodes.
func (c *Cluster) Stop() {
	for i, n := range c.Nodes {
		if n != nil {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			c.close(ctx, i)
			cancel()
		}
	}
}

func (c *Cluster) close(ctx context.Context, i int) {
	n := c.Nodes[i]
	c.Nodes[i] = nil
	if err := n.Close(ctx); err != nil {
		c.t.Errorf("close node %d: %v", i, err)
	}
}

// Ready waits for all nodes that run.
func (c *Cluster) Ready() {
	c.t.Helper()
	for i, n := range c.Nodes {
		if n == nil {
			continue
		}
		select {
		case <-n.Ready():
		case <-n.Done():
			c.t.Fatalf("node %d stopped: %v", i, n.Err())
		case <-time.After(30 * time.Second):
			c.t.Fatalf("node %d is not ready: %+v", i, n.Status())
		}
	}
}

// Leader waits for one of the nodes to lead, and to prove it; of all when none are given.
func (c *Cluster) Leader(of ...int) int {
	c.t.Helper()
	if len(of) == 0 {
		for i := range c.Nodes {
			of = append(of, i)
		}
	}
	found := -1
	c.Until("a leader", func() bool {
		for _, i := range of {
			n := c.Nodes[i]
			if n == nil {
				continue
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			_, err := n.ConfirmLeadership(ctx)
			cancel()
			if err == nil {
				found = i
				return true
			}
		}
		return false
	})
	return found
}

// Until waits for a condition, for at most 60 s.
func (c *Cluster) Until(what string, holds func() bool) {
	c.t.Helper()
	for until := time.Now().Add(60 * time.Second); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(until) {
			c.t.Fatalf("waited in vain for %s", what)
		}
	}
}
