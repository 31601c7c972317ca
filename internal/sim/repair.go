package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/internal/sim/check"
)

// Bounds within which a cluster recovers once every fault is undone.
const (
	leaderBound = 10 * time.Second // until there is a leader; a node that was wiped or is far behind has to catch up, too
	writeBound  = 5 * time.Second  // after that, until a write goes through
	detectBound = 3 * time.Second  // beyond a lease, until a profile of a game server that is gone can be loaded
)

// repairAll undoes every fault, checks the bounds of recovery, and compares the recorded answers with the log.
func (w *World) repairAll() {
	w.logFault("all faults are undone")
	w.mu.Lock()
	processes := w.processes
	w.mu.Unlock()
	w.wakeAll()
	w.Heal()
	if w.proxy != nil {
		w.proxy.setPrompt(true)
	}
	for _, n := range w.joinedNodes() {
		if err := n.failure(); err != nil {
			w.Complain("", "%s stopped itself: %v", n.name, err)
		}
		if w.scenario.Upgrade && n.runsOldBuild() {
			n.stopProcess(false)
		}
		n.start()
	}
	if !w.Until(leaderBound, "a leader, all nodes up", func() bool { return w.Leader() >= 0 }) {
		return
	}
	if w.leadersStay() {
		w.checkLoadable()
	}
	for _, s := range processes {
		if s.isAlive() {
			s.Close(10 * time.Second)
		}
	}
	if w.proxy != nil {
		w.proxy.deliverAllKept()
	}
	w.Until(20*time.Second, "equal tables on all nodes", w.compareDigests)
	if w.scenario.Upgrade {
		w.Until(10*time.Second, "the level of the newer build on all nodes", w.checkUpgraded)
	}
	if err := w.readLog(); err != nil {
		w.Complain("", "read the log's outcome: %v", err)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.found = append(w.found, check.Check(&w.history)...)
}

// leadersStay says that leaders stay once all faults are undone. Where a message may take nearly as long as a follower waits
// for one, the leader changes every few seconds, and each new leader counts the silence of all game servers from its start: then
// no bound on loading can be promised.
func (w *World) leadersStay() bool {
	return w.scenario.Heartbeat == 0 || w.scenario.Jitter < w.scenario.Heartbeat/2
}

// checkLoadable lets a new game server write, and load every profile.
func (w *World) checkLoadable() {
	since := w.Now()
	s := w.Server("probe", writeBound)
	if s == nil {
		w.Complain("", "no game server is let in %v after the repair", writeBound)
		return
	}
	if err := s.Send(w.profiles[0], writeBound-(w.Now()-since)); err != nil {
		w.Complain("", "no write goes through %v after the repair: %v", writeBound, err)
	}
	left := func() time.Duration { return max(time.Second, w.Timing.Lease+detectBound-(w.Now()-since)) }
	done := make(chan struct{})
	for _, key := range w.profiles {
		go func() {
			defer func() { done <- struct{}{} }()
			session, err := s.Start(key, left())
			for errors.Is(err, client.ErrSessionOver) && w.Now()-since < w.Timing.Lease { // stolen at once, see below
				session, err = s.Start(key, left())
			}
			if err != nil {
				w.Complain(key, "it cannot be loaded %v after the repair: %v", w.Now()-since, err)
				return
			}
			// A steal that was asked for before the repair may still come.
			if err := session.End(writeBound); err != nil && !errors.Is(err, client.ErrSessionOver) {
				w.Complain(key, "its session cannot be ended: %v", err)
			}
		}()
	}
	for range w.profiles {
		<-done
	}
}

// compareDigests says that all nodes have applied the same entries. The observer compares the digests of equal indexes.
func (w *World) compareDigests() bool {
	furthest, last := uint64(0), uint64(math.MaxUint64)
	for _, n := range w.joinedNodes() {
		running := n.runningNode()
		if running == nil {
			return false
		}
		applied := running.Status().Applied // 0: it has just started, on tables that were never flushed
		furthest, last = max(furthest, applied), min(last, applied)
	}
	return furthest == last && last > 0
}

// checkUpgraded says that the level has risen, as it must once every voter runs the newer build.
func (w *World) checkUpgraded() bool {
	for _, n := range w.joinedNodes() {
		if running := n.runningNode(); running == nil || running.Status().Level != newer {
			return false
		}
	}
	return true
}

// setUpPolicies sets the cluster up as an operator would: it keeps the whole history, which the checker needs, and says
// where nodes may join from. The lead may change meanwhile, so requests are repeated: none is settled.
func (w *World) setUpPolicies() bool {
	return w.Until(20*time.Second, "the cluster's settings", func() bool {
		leader := w.leadingNode()
		if leader == nil {
			return false
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		o, ok := registerOperator(ctx, leader, []byte("0123456789abcdef"))
		ok = ok && o.propose(ctx, &fsm.SetPolicy{Name: fsm.PolicyHistory, Value: 1000})
		for _, spare := range w.nodes[w.scenario.Nodes:] {
			ok = ok && o.propose(ctx, &fsm.ExpectNode{Address: spare.nodesAddress()})
		}
		return ok
	})
}

func (w *World) readLog() error {
	var view *cluster.View
	for _, n := range w.nodes {
		if running := n.runningNode(); running != nil {
			v, err := running.View()
			if err != nil {
				return err
			}
			view = v
			break
		}
	}
	if view == nil {
		return fmt.Errorf("no node runs")
	}
	defer view.Close()
	profiles := map[string]*check.Profile{}
	for _, key := range w.profiles {
		p := &check.Profile{Key: key, Panics: map[string]int{}}
		profiles[key] = p
		grant, err := view.Grant(store, key)
		if err != nil {
			return err
		}
		p.Loads = grant.Loads
		revisions, err := view.History(store, key)
		if err != nil {
			return err
		}
		for _, r := range revisions {
			data, _, err := view.Data(store, key, r.Revision)
			if err != nil {
				return err
			}
			kept := check.Revision{Number: r.Revision, Token: uint64(r.Token)}
			if err := json.Unmarshal(data, &kept.Doc); err != nil {
				return fmt.Errorf("%s at revision %d: %w", key, r.Revision, err)
			}
			p.Revisions = append(p.Revisions, kept)
		}
		messages, err := view.AllMessages(store, key, 0, 0)
		if err != nil {
			return err
		}
		for _, m := range messages {
			var body string
			if err := json.Unmarshal(m.Body, &body); err != nil {
				return err
			}
			p.Waiting = append(p.Waiting, body)
			p.Panics[body] = int(m.Panics)
		}
	}
	w.recordHistory(func(h *check.History) { h.Profiles = profiles })
	return nil
}
