package cluster

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/profilenode/profilenode/cluster/internal/peerwire"
	"github.com/profilenode/profilenode/fsm"
)

const listedPeriod = 5 * time.Second // between two looks at the nodes that this one lists

// listedConns are the nodes of the configuration, by the addresses that stand there, whichever node answers.
type listedConns map[string]*peerwire.Conn

func (n *Node) openListedConns() listedConns {
	l := listedConns{}
	for _, address := range n.config.Nodes {
		l[address] = n.port.ConnTo(address, "")
	}
	return l
}

func (l listedConns) close() {
	for _, a := range l {
		a.Close()
	}
}

// askHellos asks all of them for their identity, at the same time.
func (l listedConns) askHellos(ctx context.Context) (map[string]peerwire.Hello, map[string]error) {
	ctx, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	answers, errs := map[string]peerwire.Hello{}, map[string]error{}
	var mu sync.Mutex
	var asking sync.WaitGroup
	for address, a := range l {
		asking.Go(func() {
			h, err := a.AskHello(ctx)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs[address] = err
				return
			}
			answers[address] = h
		})
	}
	asking.Wait()
	return answers, errs
}

// watchListedNodes says when a node that this member lists is another cluster's: the list is wrong, the data folder is, or
// another has taken over an address. The two refuse each other's connections, so nothing else would say why. It also
// stops this node when the others say that it is elsewhere, and asks to be let in again when its joining was lost.
func (n *Node) watchListedNodes() {
	l := n.openListedConns()
	defer l.close()
	tick := time.NewTicker(listedPeriod)
	defer tick.Stop()
	for {
		if n.raftIfRunning() != nil {
			answers, _ := l.askHellos(n.ctx)
			if err := n.checkDuplicateID(answers); err != nil {
				n.fail(err)
				return
			}
			n.noteStrangers(answers)
			if err := n.askListedAgain(answers, l); err != nil {
				n.log.Warn("the cluster does not know this node, and does not let it in", "error", err)
			}
		}
		select {
		case <-n.closing:
			return
		case <-tick.C:
		}
	}
}

// askListedAgain asks a leader that does not know this node to let it in. The entry that let it in may have been lost with the
// leader that wrote it, before it was committed: then no node ever sends anything here. A node that voted, or has a row, was
// really in, and has been removed on purpose.
func (n *Node) askListedAgain(answers map[string]peerwire.Hello, askers listedConns) error {
	us := func(p peerwire.Peer) bool { return p.ID == n.ID() }
	voted := func(p peerwire.Peer) bool { return us(p) && p.Voter }
	if slices.ContainsFunc(configuredPeers(n.raftIfRunning()), voted) {
		return nil
	}
	rows, err := n.tables.readNodes()
	if err != nil || slices.ContainsFunc(rows, func(row fsm.Node) bool { return row.ID == n.ID() }) {
		return err
	}
	for address, h := range answers {
		leads := h.Member && h.Cluster == n.currentIdentity().Cluster && h.Leader == h.Address
		if !leads || slices.ContainsFunc(h.Members, us) {
			continue
		}
		return n.askToJoin(n.ctx, askers[address], h.Cluster)
	}
	return nil
}

// askToJoin asks a leader to let this node in.
func (n *Node) askToJoin(ctx context.Context, leader *peerwire.Conn, cluster string) error {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	q := peerwire.JoinQuestion{ID: n.ID(), ProcessID: n.processID, Address: n.port.Advertised(), Level: n.config.Level, Cluster: cluster}
	switch j, err := leader.AskJoin(ctx, q); {
	case err != nil:
		return fmt.Errorf("it does not answer: %w", err)
	case j.Refused != "":
		return fmt.Errorf("it refused: %s", j.Refused)
	case j.Cluster != cluster:
		return fmt.Errorf("it is of cluster %s by now, not %s", j.Cluster, cluster)
	}
	return nil
}

// checkDuplicateID is an error if the others have this node at another address and it runs there too: it was moved by a copy
// of its data folder, and then started here again.
func (n *Node) checkDuplicateID(answers map[string]peerwire.Hello) error {
	for _, h := range answers {
		for _, p := range h.Members {
			if p.ID != n.ID() || p.Address == n.port.Advertised() {
				continue
			}
			if err := n.checkNotRunningElsewhere(n.ctx, p.Address, p.ID, n.processID); err != nil {
				return err
			}
		}
	}
	return nil
}

func (n *Node) noteStrangers(answers map[string]peerwire.Hello) {
	n.strangerAlarm.Store(strangerCluster(n.currentIdentity().Cluster, answers))
}

// strangerCluster names the first that is a member of another cluster; nil: none is.
func strangerCluster(ours string, answers map[string]peerwire.Hello) *string {
	for _, address := range slices.Sorted(maps.Keys(answers)) {
		if h := answers[address]; h.Member && h.Cluster != ours {
			text := fmt.Sprintf("at the listed address %s runs node %s of cluster %s, and this node is of cluster %s: list the nodes of one cluster, and start each on its own data folder", address, h.ID, h.Cluster, ours)
			return &text
		}
	}
	return nil
}
