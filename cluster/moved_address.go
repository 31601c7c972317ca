package cluster

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/profilenode/profilenode/cluster/internal/peerwire"
)

// checkOldAddress refuses to start a node that still runs where the tables say that it is.
func (m *membership) checkOldAddress(ctx context.Context) error {
	n := m.node
	rows, err := n.tables.readNodes()
	if err != nil {
		return err
	}
	for _, row := range rows {
		if row.ID == n.ID() && row.Address != n.port.Advertised() {
			return m.checkNotRunningElsewhere(ctx, row.Address, n.ID(), n.processID)
		}
	}
	return nil
}

// checkNotRunningElsewhere returns an error if another process than the given one answers at the address as the node with
// that id. One of the two then has a copy of the other's data folder, and together they would give two votes in one term.
func (m *membership) checkNotRunningElsewhere(ctx context.Context, address, id, processID string) error {
	ctx, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	c := m.node.port.ConnTo(address, "")
	defer c.Close()
	if h, err := c.AskHello(ctx, peerwire.HelloQuestion{}); err != nil || h.ID != id || h.ProcessID == processID {
		return nil
	}
	return fmt.Errorf("node %s runs at %s already, so this data folder is a copy of its: stop that process if the node shall move here, else remove this folder, and a new node joins", id, address)
}

// checkRunsOnlyHere returns an error if the configuration, as this node or another one knows it, has this node at another
// address and it runs there too: it was moved by a copy of its data folder, and then started here again.
func (m *membership) checkRunsOnlyHere(round *peerwire.HelloRound) error {
	elsewhere := map[string]bool{}
	for _, h := range slices.AppendSeq([]peerwire.Hello{round.Own}, maps.Values(round.Answers)) {
		for _, p := range h.Members {
			if p.ID == m.node.ID() && p.Address != m.node.port.Advertised() {
				elsewhere[p.Address] = true
			}
		}
	}
	for address := range elsewhere {
		if err := m.checkNotRunningElsewhere(m.node.lifecycle.running, address, m.node.ID(), m.node.processID); err != nil {
			return err
		}
	}
	return nil
}

// announceMove tells the leader when this member, with its log and its votes, listens at another address than the
// configuration has. No other node can reach it before that, so it asks them.
func (m *membership) announceMove(round *peerwire.HelloRound) {
	moved := false
	var others []string
	for _, p := range round.Own.Members {
		switch {
		case p.ID != m.node.ID():
			others = append(others, p.Address)
		case p.Address != m.node.port.Advertised():
			moved = true
		}
	}
	if !moved {
		return
	}
	ctx, cancel := context.WithTimeout(m.node.lifecycle.running, joinTimeout)
	defer cancel()
	q := m.joinQuestion(round.Own.Cluster)
	if m.node.leadership.now() != nil {
		if err := m.admitNode(ctx, q); err != nil {
			m.node.log.Warn("move to another address", "error", err)
		}
		return
	}
	for _, address := range others {
		c := m.node.port.ConnTo(address, "")
		limited, cancel := context.WithTimeout(ctx, helloTimeout)
		j, err := c.AskJoin(limited, q)
		cancel()
		c.Close()
		if err == nil && j.Cluster != "" {
			return
		}
	}
}
