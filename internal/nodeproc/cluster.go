package nodeproc

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"
)

// Cluster is some nodes on loopback that form a cluster.
type Cluster struct{ Nodes []*Node }

// NewCluster prepares nodes that do not run yet, in folders n1, n2 and so on of dir. A dir that held a cluster before
// keeps its addresses for clients and nodes. Ports for gossip and HTTP are chosen anew.
func NewCluster(program, dir string, count int) (*Cluster, error) {
	kept, err := keepAddresses(dir, count)
	if err != nil {
		return nil, err
	}
	free, err := FreeAddresses(2 * count)
	if err != nil {
		return nil, err
	}
	c := &Cluster{}
	for i := range count {
		c.Nodes = append(c.Nodes, &Node{
			Program:   program,
			Folder:    filepath.Join(dir, fmt.Sprintf("n%d", i+1)),
			Addresses: Addresses{Clients: kept[i], Nodes: kept[count+i], Gossip: free[i], HTTP: free[count+i]},
			Members:   kept[count:],
		})
	}
	return c, nil
}

// Clients are the addresses that clients connect to.
func (c *Cluster) Clients() (addresses []string) {
	for _, n := range c.Nodes {
		addresses = append(addresses, n.Addresses.Clients)
	}
	return addresses
}

// Start starts every node that is not up, with flags beside those of each.
func (c *Cluster) Start(flags ...string) error {
	for _, n := range c.Nodes {
		if n.Up() {
			continue
		}
		if err := n.Start(flags...); err != nil {
			return err
		}
	}
	return nil
}

// WaitReady waits until every node that is up is ready.
func (c *Cluster) WaitReady(ctx context.Context) error {
	for _, n := range c.Nodes {
		if !n.Up() {
			continue
		}
		if err := n.WaitReady(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Stop asks every node to end, all at a time, and waits for each.
func (c *Cluster) Stop(limit time.Duration) error {
	for _, n := range c.Nodes {
		n.RequestStop()
	}
	var faults []error
	for _, n := range c.Nodes {
		faults = append(faults, n.Stop(limit))
	}
	return errors.Join(faults...)
}

// Kill ends every process at once.
func (c *Cluster) Kill() error {
	var faults []error
	for _, n := range c.Nodes {
		faults = append(faults, n.Kill())
	}
	return errors.Join(faults...)
}
