package cluster

import (
	"context"
	"fmt"
	"time"
)

const moveEvery = time.Second

// followAddress tells the leader when this member, with its log and its votes, has come to listen at another address than
// the configuration says. Nobody could reach it before that: it goes to them.
func (n *Node) followAddress() {
	tick := time.NewTicker(moveEvery)
	defer tick.Stop()
	for {
		if before, others := n.moved(); before != "" {
			if err := n.elsewhere(n.ctx, before, n.ID(), n.life); err != nil {
				n.stop(err)
				return
			}
			n.sayAddress(others)
		}
		select {
		case <-n.closing:
			return
		case <-tick.C:
		}
	}
}

// moved is the address that the configuration has for this node, if that is another one; and those of the others.
func (n *Node) moved() (before string, others []string) {
	r := n.running()
	if r == nil {
		return "", nil
	}
	for _, p := range members(r) {
		switch {
		case p.ID != n.ID():
			others = append(others, p.Address)
		case p.Address != n.transport.address:
			before = p.Address
		}
	}
	return before, others
}

// unmoved refuses to start a node that still runs where the tables say that it is.
func (n *Node) unmoved(ctx context.Context) error {
	rows, err := n.tables.nodes()
	if err != nil {
		return err
	}
	for _, row := range rows {
		if row.ID == n.ID() && row.Address != n.transport.address {
			return n.elsewhere(ctx, row.Address, n.ID(), n.life)
		}
	}
	return nil
}

// elsewhere is an error if another process than life is the node of that id and answers at address. One of the two then
// has a copy of the other's data folder, and together they would give two votes in one term.
func (n *Node) elsewhere(ctx context.Context, address, id, life string) error {
	ctx, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	a := n.transport.asker(address, "")
	defer a.close()
	if h, err := a.askHello(ctx); err != nil || h.ID != id || h.Life == life {
		return nil
	}
	return fmt.Errorf("node %s runs at %s already, so this data folder is a copy of its: stop that process if the node shall move here, else remove this folder, and a new node joins", id, address)
}

func (n *Node) sayAddress(others []string) {
	ctx, cancel := context.WithTimeout(n.ctx, joinTimeout)
	defer cancel()
	q := joinQuestion{ID: n.ID(), Life: n.life, Address: n.transport.address, Level: n.config.Level, Cluster: n.identity().Cluster}
	if l := n.leads(); l != nil {
		if err := n.admit(ctx, q); err != nil {
			n.log.Warn("move to another address", "error", err)
		}
		return
	}
	for _, address := range others {
		a := n.transport.asker(address, "")
		limited, cancel := context.WithTimeout(ctx, helloTimeout)
		j, err := a.askJoin(limited, q)
		cancel()
		a.close()
		if err == nil && j.Cluster != "" {
			return
		}
	}
}
