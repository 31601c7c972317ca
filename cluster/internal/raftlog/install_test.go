package raftlog

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
)

// These tests install a snapshot that contradicts the follower's log, with raft 1.8.0 alone and with FitToSnapshot. The
// follower has entries 1 to 99 of term 1, and entries of term 2 from 100 on, from a deposed leader. The leader of term 3
// has a snapshot that ends at entry 105, and no entries before that.
const (
	committedTo = 99
	snapshotEnd = 105
)

// newContradictedPeers returns a leader and a follower. The follower's entries of term 2 end at tail.
func newContradictedPeers(t *testing.T, tail uint64, followers raft.LogStore) (leader, follower *peer) {
	both := servers("a", "b")
	leader = newPeer(t, "a", 3, raft.NewInmemStore())
	leader.keep(snapshotEnd, 3, both)
	follower = newPeer(t, "b", 2, followers)
	mustStore(t, followers, configuredEntries(committedTo, both))
	mustStore(t, followers, termEntries(2, committedTo+1, tail))
	return leader, follower
}

// monotonicStore is a log store that tells raft that it takes no gaps.
type monotonicStore struct{ raft.LogStore }

func (monotonicStore) IsMonotonic() bool { return true }

// Without FitToSnapshot the follower asks for the same snapshot without end, whatever IsMonotonic returns. If it returns
// true, raft empties the log but keeps in memory that it ends at 110; if false, raft keeps an entry 105 of the wrong
// term.
func TestRaftAloneNeverGetsOverADivergentTail(t *testing.T) {
	for name, answer := range map[string]func(*Store) raft.LogStore{
		"monotonic":     func(s *Store) raft.LogStore { return monotonicStore{s} },
		"not monotonic": func(s *Store) raft.LogStore { return s },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := openEntriesOn(t, vfs.NewMem())
				defer s.Close()
				leader, follower := newContradictedPeers(t, 110, answer(s))
				leader.start()
				defer leader.shut()
				follower.start(leader)
				defer follower.shut()
				if leader.commits(30*time.Second) || follower.installs() < 3 {
					t.Errorf("raft continues by itself after %d installs: FitToSnapshot is no longer needed", follower.installs())
				}
				_, last := s.IndexBounds()
				t.Logf("%d installs in 30 s; the log ends at %d, and raft's last index is %d",
					follower.installs(), last, follower.raft.LastIndex())
			})
		})
	}
}

// FitToSnapshot ends that loop.
func TestALogThatStandsOnItsSnapshotGetsOverADivergentTail(t *testing.T) {
	for _, tail := range []uint64{snapshotEnd + 1, snapshotEnd + 5, snapshotEnd + 200} {
		synctest.Test(t, func(t *testing.T) {
			s := openEntriesOn(t, vfs.NewMem())
			defer s.Close()
			leader, follower := newContradictedPeers(t, tail, s)
			g := &GuardedLog{LogStore: s, onFault: func(err error) { t.Errorf("stopped: %v", err) }}
			follower.log, follower.fit = g, g.FitToSnapshot
			leader.start()
			defer leader.shut()
			follower.start(leader)
			defer follower.shut()
			if !leader.commits(30*time.Second) || follower.installs() != 1 {
				t.Fatalf("tail to %d: %d installs, want one and then a commit", tail, follower.installs())
			}
			first, last := s.IndexBounds()
			if want := uint64(snapshotEnd + 1); first != want {
				t.Errorf("tail to %d: the log begins at %d, want %d", tail, first, want)
			}
			for i := first; i <= last; i++ {
				var l raft.Log
				if err := s.GetLog(i, &l); err != nil || l.Term <= 3 {
					t.Errorf("tail to %d: entry %d is of term %d, %v", tail, i, l.Term, err)
				}
			}
		})
	}
}

// If the snapshot ends at the last entry of the log, raft keeps the wrong term of that entry in memory, whatever the log
// says. The node stops, and its next start works.
func TestASnapshotThatEndsAtTheTailStopsTheNodeOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openEntriesOn(t, vfs.NewMem())
		defer s.Close()
		leader, follower := newContradictedPeers(t, snapshotEnd, s)
		stop := make(chan error, 1)
		g := &GuardedLog{LogStore: s, onFault: func(err error) {
			select {
			case stop <- err:
			default:
			}
		}}
		follower.log, follower.fit = g, g.FitToSnapshot
		leader.start()
		defer leader.shut()
		follower.start(leader)
		if err := <-stop; !strings.Contains(err.Error(), "start this node again") {
			t.Errorf("stopped with %v", err)
		}
		follower.shut()

		g = &GuardedLog{LogStore: s, onFault: func(err error) { t.Errorf("stopped again: %v", err) }}
		follower.log, follower.fit = g, g.FitToSnapshot
		if err := g.FitToSnapshot(snapshotEnd, 3, false); err != nil {
			t.Fatal(err)
		}
		follower.start(leader)
		defer follower.shut()
		if !leader.commits(30 * time.Second) {
			t.Error("nothing was committed after the next start")
		}
	})
}

// A snapshot that ends after the log does not stop a follower by itself, but in a store that takes gaps the entries of the
// deposed leader remain below the snapshot. When the follower leads, raft alone sends them to other nodes as committed.
func TestEntriesUnderASnapshotAreNotHandedOn(t *testing.T) {
	countHandedOn := func(t *testing.T, log raft.LogStore, fit func(uint64, uint64, bool) error) (entries int) {
		all := servers("a", "b", "c")
		leader := newPeer(t, "a", 3, raft.NewInmemStore())
		leader.keep(302, 3, all)
		follower := newPeer(t, "b", 2, log)
		follower.fit = fit
		mustStore(t, log, configuredEntries(committedTo, all))
		// These are more entries than raft sends at a time, since it only notices a gap between two sends.
		mustStore(t, log, termEntries(2, committedTo+1, 300))
		lagging := newPeer(t, "c", 2, raft.NewInmemStore())
		mustStore(t, lagging.log, configuredEntries(committedTo-1, all))

		leader.start()
		follower.start(leader)
		if !leader.commits(30 * time.Second) {
			t.Fatal("nothing was committed")
		}
		leader.shut()
		lagging.start(follower)
		defer lagging.shut()
		defer follower.shut()
		if !follower.commits(60 * time.Second) {
			t.Fatal("nothing was committed after the leader's death")
		}
		time.Sleep(5 * time.Second)
		lagging.mu.Lock()
		defer lagging.mu.Unlock()
		for _, data := range lagging.applied {
			if data == "term 2" {
				entries++
			}
		}
		return entries
	}
	t.Run("raft alone", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			if countHandedOn(t, raft.NewInmemStore(), nil) == 0 {
				t.Error("raft alone sends none of these entries: FitToSnapshot is no longer needed")
			}
		})
	})
	t.Run("with FitToSnapshot", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g := &GuardedLog{LogStore: raft.NewInmemStore(), onFault: func(err error) { t.Errorf("stopped: %v", err) }}
			if got := countHandedOn(t, g, g.FitToSnapshot); got != 0 {
				t.Errorf("%d entries of a deposed leader were applied as committed", got)
			}
		})
	})
}

func TestFitToSnapshot(t *testing.T) {
	log := append(termEntries(1, 10, 20), termEntries(2, 21, 30)...)
	for _, c := range []struct {
		name        string
		index, term uint64 // of the snapshot
		first, last uint64 // of the log afterwards
		refused     bool
	}{
		{"inside, the same entry", 20, 1, 10, 30, false},
		{"inside, another entry", 21, 3, 22, 30, false},
		{"at the end, the same entry", 30, 2, 10, 30, false},
		{"at the end, another entry", 30, 3, 0, 0, false}, // before raft runs
		{"after the end", 31, 3, 0, 0, false},
		{"right before the beginning", 9, 1, 10, 30, false},
		{"with a gap before the beginning", 8, 1, 10, 30, true},
	} {
		s := openEntriesOn(t, vfs.NewMem())
		mustStore(t, s, log)
		var faults faultRecorder
		g := &GuardedLog{LogStore: s, onFault: faults.stop}
		if err := g.FitToSnapshot(c.index, c.term, false); (err != nil) != c.refused || (faults.count() > 0) != c.refused {
			t.Errorf("%s: error %v, want an error and a stop: %v", c.name, err, c.refused)
		}
		if first, last := s.IndexBounds(); first != c.first || last != c.last {
			t.Errorf("%s: the log is %d to %d, want %d to %d", c.name, first, last, c.first, c.last)
		}
		var l raft.Log
		if err := g.GetLog(c.index, &l); !c.refused && (err != nil || l.Term != c.term) {
			t.Errorf("%s: the snapshot's last entry is of term %d, %v; want %d", c.name, l.Term, err, c.term)
		}
		if !c.refused {
			if err := g.FitToSnapshot(c.index-1, 1, true); err == nil {
				t.Errorf("%s: an older snapshot was accepted afterwards", c.name)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
