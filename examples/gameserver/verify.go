package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/profilenode/profilenode/client"
)

// Acked is what the store has acknowledged, profile by profile: what must be there when it is read back.
type Acked struct {
	mu       sync.Mutex
	profiles map[string]acked
}

type acked struct {
	revision uint64 // the highest
	mark     uint64 // of the data that is known to be stored
	marked   uint64 // the revision that it was seen at
}

// Saved notes that a revision is stored.
func (a *Acked) Saved(key string, revision uint64) { a.note(key, acked{revision: revision}) }

// Holds notes that a revision is stored and holds at least the data with this mark.
func (a *Acked) Holds(key string, revision, mark uint64) {
	a.note(key, acked{revision: revision, mark: mark, marked: revision})
}

func (a *Acked) note(key string, n acked) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.profiles == nil {
		a.profiles = map[string]acked{}
	}
	p := a.profiles[key]
	p.revision = max(p.revision, n.revision)
	if n.marked >= p.marked && n.marked > 0 {
		p.mark, p.marked = n.mark, n.marked
	}
	a.profiles[key] = p
}

// Verdict is what reading everything back has shown.
type Verdict struct {
	Read   int      `json:"read"`
	Differ []string `json:"differ"` // a sentence for each profile that has not what was acknowledged
	Unread []string `json:"unread"` // a sentence for each that could not be read, or one for all
}

func (v Verdict) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d profiles read back, %d differ", v.Read, len(v.Differ))
	if len(v.Unread) > 0 {
		b.WriteString(", not all could be read")
	}
	for _, sentence := range slices.Concat(v.Differ, v.Unread) {
		b.WriteString("\n  " + sentence)
	}
	return b.String()
}

// Good says that everything that was acknowledged is there.
func (v Verdict) Good() bool { return len(v.Differ)+len(v.Unread) == 0 }

const readers = 16 // at once

// Verify reads every profile that was saved back and compares. It wants a client of its own, since the arena's is closed.
func (a *Arena[T]) Verify(ctx context.Context, store *client.Store[T]) Verdict {
	a.Acked.mu.Lock()
	defer a.Acked.mu.Unlock()
	var verdict Verdict
	var mu sync.Mutex
	var reads sync.WaitGroup
	places := make(chan struct{}, readers)
	for key, want := range a.Acked.profiles {
		places <- struct{}{}
		reads.Go(func() {
			defer func() { <-places }()
			got, err := store.Get(ctx, key)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				verdict.Unread = append(verdict.Unread, fmt.Sprintf("%s: %v", key, err))
				return
			}
			verdict.Read++
			if fault := compare(a.Game, key, got, want); fault != nil {
				verdict.Differ = append(verdict.Differ, fmt.Sprintf("%s: %v", key, fault))
			}
		})
	}
	reads.Wait()
	slices.Sort(verdict.Differ)
	slices.Sort(verdict.Unread)
	return verdict
}

func compare[T any](game Game[T], key string, got *client.Snapshot[T], want acked) error {
	if !got.Exists || got.Revision < want.revision {
		return fmt.Errorf("it is at revision %d, acknowledged was %d", got.Revision, want.revision)
	}
	return game.Check(key, &got.Data, want.mark, got.Revision == want.marked)
}
