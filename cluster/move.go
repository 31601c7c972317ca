package cluster

import (
	"context"
	"time"

	"github.com/profilenode/profilenode/fsm"
)

const moveEvery = time.Second

// followAddress tells the leader when this member, with its log and its votes, has come to listen at another address than
// the configuration says. Nobody could reach it before that: it goes to them.
func (n *Node) followAddress() {
	tick := time.NewTicker(moveEvery)
	defer tick.Stop()
	for {
		if elsewhere, others := n.moved(); elsewhere {
			n.sayAddress(others)
		}
		select {
		case <-n.closing:
			return
		case <-tick.C:
		}
	}
}

// moved compares this node's address with the one that the configuration has for it.
func (n *Node) moved() (elsewhere bool, others []string) {
	r := n.running()
	if r == nil {
		return false, nil
	}
	for _, p := range members(r) {
		if p.ID == n.ID() {
			elsewhere = p.Address != n.transport.address
			continue
		}
		others = append(others, p.Address)
	}
	return elsewhere, others
}

func (n *Node) sayAddress(others []string) {
	ctx, cancel := context.WithTimeout(n.ctx, joinTimeout)
	defer cancel()
	q := joinQuestion{ID: n.ID(), Address: n.transport.address, Level: fsm.Level}
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
