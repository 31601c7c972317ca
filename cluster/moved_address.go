package cluster

import (
	"context"
	"fmt"
	"time"

	"github.com/profilenode/profilenode/cluster/internal/peerwire"
)

const addressPeriod = time.Second

// followAddress tells the leader when this member, with its log and its votes, has come to listen at another address than
// the configuration says. Nobody could reach it before that: it goes to them.
func (n *Node) followAddress() {
	tick := time.NewTicker(addressPeriod)
	defer tick.Stop()
	for {
		if before, others := n.addressChanged(); before != "" {
			if err := n.checkNotRunningElsewhere(n.ctx, before, n.ID(), n.processID); err != nil {
				n.fail(err)
				return
			}
			n.announceAddress(others)
		}
		select {
		case <-n.closing:
			return
		case <-tick.C:
		}
	}
}

// addressChanged is the address that the configuration has for this node, if that is another one; and those of the others.
func (n *Node) addressChanged() (before string, others []string) {
	r := n.raftIfRunning()
	if r == nil {
		return "", nil
	}
	for _, p := range configuredPeers(r) {
		switch {
		case p.ID != n.ID():
			others = append(others, p.Address)
		case p.Address != n.port.Advertised():
			before = p.Address
		}
	}
	return before, others
}

// checkOldAddress refuses to start a node that still runs where the tables say that it is.
func (n *Node) checkOldAddress(ctx context.Context) error {
	rows, err := n.tables.readNodes()
	if err != nil {
		return err
	}
	for _, row := range rows {
		if row.ID == n.ID() && row.Address != n.port.Advertised() {
			return n.checkNotRunningElsewhere(ctx, row.Address, n.ID(), n.processID)
		}
	}
	return nil
}

// checkNotRunningElsewhere is an error if another process than life is the node of that id and answers at address. One of the
// two then has a copy of the other's data folder, and together they would give two votes in one term.
func (n *Node) checkNotRunningElsewhere(ctx context.Context, address, id, processID string) error {
	ctx, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	a := n.port.ConnTo(address, "")
	defer a.Close()
	if h, err := a.AskHello(ctx); err != nil || h.ID != id || h.ProcessID == processID {
		return nil
	}
	return fmt.Errorf("node %s runs at %s already, so this data folder is a copy of its: stop that process if the node shall move here, else remove this folder, and a new node joins", id, address)
}

func (n *Node) announceAddress(others []string) {
	ctx, cancel := context.WithTimeout(n.ctx, joinTimeout)
	defer cancel()
	q := peerwire.JoinQuestion{ID: n.ID(), ProcessID: n.processID, Address: n.port.Advertised(), Level: n.config.Level, Cluster: n.currentIdentity().Cluster}
	if l := n.leaderStateNow(); l != nil {
		if err := n.admitNode(ctx, q); err != nil {
			n.log.Warn("move to another address", "error", err)
		}
		return
	}
	for _, address := range others {
		a := n.port.ConnTo(address, "")
		limited, cancel := context.WithTimeout(ctx, helloTimeout)
		j, err := a.AskJoin(limited, q)
		cancel()
		a.Close()
		if err == nil && j.Cluster != "" {
			return
		}
	}
}
