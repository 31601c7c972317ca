package raftlog

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
)

// What raft 1.8.0 does with a log that an installed snapshot contradicts, and what FitToSnapshot makes of it. A follower has
// entries 1 to 99 of term 1 and, from a leader that was deposed, 100 to its tail of term 2. The leader of term 3 has
// 105 as the end of its snapshot and nothing before it.
const (
	committedTo = 99
	snapshotEnd = 105
)

// contradicted is a leader, and a follower whose tail of term 2 ends at tail.
func contradicted(t *testing.T, tail uint64, followers raft.LogStore) (leader, follower *peer) {
	both := servers("a", "b")
	leader = newPeer(t, "a", 3, raft.NewInmemStore())
	leader.keep(snapshotEnd, 3, both)
	follower = newPeer(t, "b", 2, followers)
	mustStore(t, followers, configured(committedTo, both))
	mustStore(t, followers, told(2, committedTo+1, tail))
	return leader, follower
}

// monotonic is what IsMonotonic would be like.
type monotonic struct{ raft.LogStore }

func (monotonic) IsMonotonic() bool { return true }

// Both answers of IsMonotonic leave a follower that asks for the same snapshot for ever: with yes raft empties the log
// and remembers that it ends at 110, with no it keeps an entry 105 of the wrong term.
func TestRaftAloneNeverGetsOverADivergentTail(t *testing.T) {
	for name, answer := range map[string]func(*Store) raft.LogStore{
		"monotonic":     func(s *Store) raft.LogStore { return monotonic{s} },
		"not monotonic": func(s *Store) raft.LogStore { return s },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := openEntriesOn(t, vfs.NewMem())
				defer s.Close()
				leader, follower := contradicted(t, 110, answer(s))
				leader.start()
				defer leader.shut()
				follower.start(leader)
				defer follower.shut()
				if leader.commits(30*time.Second) || follower.installs() < 3 {
					t.Errorf("raft got over it, with %d installs: the cure is not needed any more", follower.installs())
				}
				_, last := s.IndexBounds()
				t.Logf("%d installs in 30 s; the log ends at %d, raft believes %d", follower.installs(), last, follower.raft.LastIndex())
			})
		})
	}
}

func TestALogThatStandsOnItsSnapshotGetsOverADivergentTail(t *testing.T) {
	for _, tail := range []uint64{snapshotEnd + 1, snapshotEnd + 5, snapshotEnd + 200} {
		synctest.Test(t, func(t *testing.T) {
			s := openEntriesOn(t, vfs.NewMem())
			defer s.Close()
			leader, follower := contradicted(t, tail, s)
			g := &GuardedLog{LogStore: s, onFault: func(err error) { t.Errorf("stopped: %v", err) }}
			follower.log, follower.fit = g, g.FitToSnapshot
			leader.start()
			defer leader.shut()
			follower.start(leader)
			defer follower.shut()
			if !leader.commits(30*time.Second) || follower.installs() != 1 {
				t.Fatalf("tail to %d: %d installs, want one, and a commit", tail, follower.installs())
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

// Where the snapshot ends exactly at the tail raft remembers the tail's term, whatever the log says. The node stops; its
// next start is clean.
func TestASnapshotThatEndsAtTheTailStopsTheNodeOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openEntriesOn(t, vfs.NewMem())
		defer s.Close()
		leader, follower := contradicted(t, snapshotEnd, s)
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
			t.Error("nothing was committed after the start")
		}
	})
}

// The worse half: a follower that got over its tail only because a snapshot ended behind it keeps, in a store that takes
// gaps, what it should have forgotten. Once it leads, it hands those entries on as committed.
func TestEntriesUnderASnapshotAreNotHandedOn(t *testing.T) {
	handedOn := func(t *testing.T, log raft.LogStore, fit func(uint64, uint64, bool) error) (entries int) {
		all := servers("a", "b", "c")
		leader := newPeer(t, "a", 3, raft.NewInmemStore())
		leader.keep(302, 3, all)
		follower := newPeer(t, "b", 2, log)
		follower.fit = fit
		mustStore(t, log, configured(committedTo, all))
		mustStore(t, log, told(2, committedTo+1, 300)) // more than raft sends at a time: it looks for a gap only there
		lagging := newPeer(t, "c", 2, raft.NewInmemStore())
		mustStore(t, lagging.log, configured(committedTo-1, all))

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
			if handedOn(t, raft.NewInmemStore(), nil) == 0 {
				t.Error("raft hands nothing on: the cure is not needed any more")
			}
		})
	})
	t.Run("standing on its snapshot", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g := &GuardedLog{LogStore: raft.NewInmemStore(), onFault: func(err error) { t.Errorf("stopped: %v", err) }}
			if got := handedOn(t, g, g.FitToSnapshot); got != 0 {
				t.Errorf("%d entries of a deposed leader were applied as committed", got)
			}
		})
	})
}

func TestFitToSnapshot(t *testing.T) {
	log := append(told(1, 10, 20), told(2, 21, 30)...)
	for _, c := range []struct {
		what        string
		index, term uint64
		first, last uint64 // of the log afterwards
		refused     bool
	}{
		{"inside, the same entry", 20, 1, 10, 30, false},
		{"inside, another entry", 21, 3, 22, 30, false},
		{"at the end, the same entry", 30, 2, 10, 30, false},
		{"at the end, another entry", 30, 3, 0, 0, false}, // before raft runs
		{"behind the end", 31, 3, 0, 0, false},
		{"just before the beginning", 9, 1, 10, 30, false},
		{"with a hole to the beginning", 8, 1, 10, 30, true},
	} {
		s := openEntriesOn(t, vfs.NewMem())
		mustStore(t, s, log)
		var told toldFaults
		g := &GuardedLog{LogStore: s, onFault: told.stop}
		if err := g.FitToSnapshot(c.index, c.term, false); (err != nil) != c.refused || (told.count() > 0) != c.refused {
			t.Errorf("%s: %v, want a refusal: %v", c.what, err, c.refused)
		}
		if first, last := s.IndexBounds(); first != c.first || last != c.last {
			t.Errorf("%s: the log is %d to %d, want %d to %d", c.what, first, last, c.first, c.last)
		}
		var l raft.Log
		if err := g.GetLog(c.index, &l); !c.refused && (err != nil || l.Term != c.term) {
			t.Errorf("%s: the snapshot's last entry is of term %d, %v; want %d", c.what, l.Term, err, c.term)
		}
		if !c.refused {
			if err := g.FitToSnapshot(c.index-1, 1, true); err == nil {
				t.Errorf("%s: an older snapshot was taken behind it", c.what)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
