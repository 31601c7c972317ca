package testbed

import (
	"context"
	"fmt"
	"time"

	"github.com/profilenode/profilenode/bench/measure"
	"github.com/profilenode/profilenode/internal/nodeproc"
)

// NodeCount is how many nodes the clusters of most benchmarks have.
const NodeCount = 3

// Cluster is nodes that form a cluster: those of a nodeproc.Cluster, each with a connection to it.
type Cluster struct {
	*nodeproc.Cluster
	Nodes []*Node
}

// NewCluster prepares nodes on loopback, without ports for gossip and HTTP, that do not run yet. set, if it is not nil,
// may change each before that.
func NewCluster(program, folder string, count int, set func(number int, n *nodeproc.Node)) (*Cluster, error) {
	prepared, err := nodeproc.NewCluster(program, folder, count)
	if err != nil {
		return nil, err
	}
	c := &Cluster{Cluster: prepared}
	for i, n := range prepared.Nodes {
		n.Addresses.Gossip, n.Addresses.HTTP = "", ""
		if set != nil {
			set(i, n)
		}
		connected, err := newNode(n)
		if err != nil {
			return nil, err
		}
		c.Nodes = append(c.Nodes, connected)
	}
	return c, nil
}

// Start starts every node that is not up, and waits until one leads.
func (c *Cluster) Start(ctx context.Context, flags ...string) error {
	if err := c.Cluster.Start(flags...); err != nil {
		return err
	}
	if _, err := c.FindLeader(ctx); err != nil {
		return err
	}
	if len(c.LogLines(Leads, time.Time{})) == 0 {
		return fmt.Errorf("no node's log has the code %s: the nodes are of another build", Leads)
	}
	return nil
}

// Close ends every process. A nil cluster has none.
func (c *Cluster) Close() {
	if c == nil {
		return
	}
	for _, n := range c.Nodes {
		_ = n.Kill() // it may have ended
		n.link.Close()
	}
}

// FindLeader waits until one of the nodes that are up leads and answers a linearizable read.
func (c *Cluster) FindLeader(ctx context.Context) (*Node, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		for _, n := range c.Nodes {
			if n.HasEnded() {
				return nil, fmt.Errorf("a node ended:\n%s", n.LastLines())
			}
			if !n.Up() {
				continue
			}
			if s, err := n.Status(ctx); err == nil && s.GetState() == "leader" {
				return n, n.WaitForAnswer(ctx, "bench", "any", false)
			}
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("wait for a leader: %w", ctx.Err())
		}
		measure.Sleep(ctx, 50*time.Millisecond)
	}
}

// LogLines are Node.LogLines of all nodes.
func (c *Cluster) LogLines(code string, since time.Time) (lines []string) {
	for _, n := range c.Nodes {
		lines = append(lines, n.LogLines(code, since)...)
	}
	return lines
}

// Usages are the usages of the nodes' processes.
func (c *Cluster) Usages() ([]measure.Usage, error) {
	all := make([]measure.Usage, len(c.Nodes))
	for i, n := range c.Nodes {
		var err error
		if all[i], err = measure.ReadUsage(n.PID()); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// WhileRunning is cancelled when one of the nodes ends: the work of a client would be tried again without end.
func (c *Cluster) WhileRunning(ctx context.Context) (context.Context, context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	for i, n := range c.Nodes {
		go func() {
			select {
			case <-n.Ended():
				cancel(fmt.Errorf("node %d ended:\n%s", i+1, n.LastLines()))
			case <-ctx.Done():
			}
		}()
	}
	return ctx, cancel
}
