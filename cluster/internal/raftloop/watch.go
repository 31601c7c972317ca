// Package raftloop notices a main loop of raft that answers nothing. Raft then neither follows nor leads nor elects, and its
// heartbeats, which other goroutines send, hide that from the other nodes.
//
// A loop that waits for a disk is the disk's fault, and one that puts a received snapshot in place is busy: neither counts.
package raftloop

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// Limit is how long the loop may leave a question unanswered. A leader without a majority answers when it steps down, within
	// less than a second.
	Limit = 20 * time.Second

	// receivingLimit is the same while a snapshot is received and put in place, which the loop does itself.
	receivingLimit = 30 * time.Minute
)

// ErrStuck is in the error of a loop that answers nothing.
var ErrStuck = errors.New("raft does not answer")

// Watch asks the loop of one node, one question at a time. Its zero value is ready.
type Watch struct {
	mu        sync.Mutex
	asked     time.Time // when the question that counts was asked; zero: none is open
	open      bool      // a question is unanswered
	receiving bool      // a snapshot has begun to come since the last answer
}

// NoteReceiving says that the loop receives a snapshot from now on, until its next answer.
func (w *Watch) NoteReceiving() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.receiving = true
}

// Check asks a question, unless one is open, and returns an error if one has been open for too long. ask returns when the loop has
// answered, whatever it says. Time before a Check at which the disk hangs does not count.
func (w *Watch) Check(ask func(), diskHangs bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if !w.open {
		w.open, w.asked = true, now
		go func() {
			ask()
			w.mu.Lock()
			defer w.mu.Unlock()
			w.open, w.receiving = false, false
		}()
	}
	if diskHangs {
		w.asked = now
	}
	limit := Limit
	if w.receiving {
		limit = receivingLimit
	}
	if silent := now.Sub(w.asked); silent > limit {
		return fmt.Errorf("%w: its main loop has been silent for %v, and the disk works", ErrStuck, silent.Round(time.Second))
	}
	return nil
}
