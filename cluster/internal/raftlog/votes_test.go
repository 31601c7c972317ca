package raftlog

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// Raft may set the term for a heartbeat while it sets a vote. On a slow disk neither write undoes the other.
func TestVotesOfAMomentAreAllKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind == errorfs.OpFileSync {
				time.Sleep(10 * time.Millisecond)
			}
			return nil
		}))
		v, err := openMemoryVotes(fs, "raft.db")
		if err != nil {
			t.Fatal(err)
		}
		keys := []string{"CurrentTerm", "LastVoteTerm", "LastVoteCand"}
		var setting sync.WaitGroup
		for _, key := range keys {
			setting.Go(func() {
				if err := v.Set([]byte(key), []byte(key)); err != nil {
					t.Error(err)
				}
			})
		}
		setting.Wait()
		if v, err = openMemoryVotes(fs, "raft.db"); err != nil {
			t.Fatal(err)
		}
		for _, key := range keys {
			if got, err := v.Get([]byte(key)); err != nil || string(got) != key {
				t.Errorf("%s: got %q, %v", key, got, err)
			}
		}
	})
}
