package sim

import (
	"context"
	"time"
)

// Crash ends a node's process: the others are refused there. Its disk keeps all synced data.
func (w *World) Crash(node int) {
	w.logFault("crash n%d", node)
	w.nodes[node].stopProcess(false)
}

// Lose ends a node's machine: the others hear nothing of it any more.
func (w *World) Lose(node int) {
	w.logFault("lose n%d", node)
	w.nodes[node].stopProcess(true)
}

// Restart starts a node that was crashed, lost or wiped.
func (w *World) Restart(node int) {
	w.logFault("restart n%d", node)
	w.nodes[node].start()
}

// Wipe takes a stopped node's disk away.
func (w *World) Wipe(node int) {
	w.logFault("wipe n%d", node)
	w.nodes[node].wipeDisk()
}

// Replace takes the disk of a node away and starts it at once: it comes back as a new one at the old address, which the
// cluster takes in for the lost one. Only while every member runs and votes: two lost disks may be one too many.
func (w *World) Replace(node int) {
	if !w.allNodesRun() {
		return
	}
	w.Crash(node)
	w.Wipe(node)
	w.Restart(node)
}

// allNodesRun says that all members run and vote, as the leader knows them.
func (w *World) allNodesRun() bool {
	n := w.leadingNode()
	if n == nil {
		return false
	}
	running := map[string]bool{}
	for _, member := range w.joinedNodes() {
		r := member.runningNode()
		if r == nil {
			return false
		}
		running[r.ID()] = true
	}
	members := n.Status().Members
	for _, m := range members {
		if !m.Voter || !running[m.ID] {
			return false
		}
	}
	return len(members) == len(running)
}

// Join starts a spare node: it learns first, and then votes. It returns false when there is none left.
func (w *World) Join() bool {
	for _, n := range w.nodes {
		if !n.hasJoined() {
			w.logFault("n%d joins", n.number)
			n.start()
			return true
		}
	}
	return false
}

// Pause stops a node's process as far as a bubble lets it: nothing reaches it or leaves it, its disk answers no sync of its
// log, and its clock stands still. Its goroutines and timers go on.
func (w *World) Pause(node int) {
	n := w.nodes[node]
	p := n.runningProcess()
	if p == nil {
		return
	}
	w.logFault("pause n%d", node)
	p.disk.holdWrites()
	w.freezeHost(n.name, n.clock)
}

// Resume lets a paused node go on. Everything sent to it meanwhile arrives at once.
func (w *World) Resume(node int) {
	n := w.nodes[node]
	w.logFault("resume n%d", node)
	if p := n.runningProcess(); p != nil {
		p.disk.releaseWrites()
	}
	w.unfreezeHost(n.name, n.clock)
}

func (w *World) isPaused(node int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.still[w.nodes[node].name]
}

// SlowDisk makes each sync of a node's log take so much longer.
func (w *World) SlowDisk(node int, by time.Duration) {
	w.logFault("each sync of n%d takes %v longer", node, by)
	w.nodes[node].slowDisk(by)
}

func (n *node) slowDisk(by time.Duration) {
	if p := n.runningProcess(); p != nil {
		p.disk.setDelay(by)
	}
}

// ReportAllDead has a node hear from gossip that every game server is dead.
func (w *World) ReportAllDead(node int) {
	w.logFault("n%d hears that all game servers are dead", node)
	w.nodes[node].reportsAllDead.Store(true)
}

// LoseEvents drops the events of a node's log on the way to its streams: grants, requests to let go, losses and ends.
func (w *World) LoseEvents(node int) {
	w.logFault("the events of the log of n%d are lost", node)
	w.nodes[node].losesEvents.Store(true)
}

// Transfer has a leader hand the lead over.
func (w *World) Transfer(node int) {
	if n := w.Node(node); n != nil {
		w.logFault("n%d is to hand the lead over", node)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = n.Transfer(ctx) // it may not lead
	}
}

// Snapshot has a node take one, which lasts while its disk stands still.
func (w *World) Snapshot(node int) {
	if n := w.Node(node); n != nil {
		w.logFault("n%d takes a snapshot", node)
		w.ending.Go(func() { _ = n.Snapshot() }) // refused while the tables are ahead of the replay
	}
}
