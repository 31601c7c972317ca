package raftloop

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// loop stands for raft's: it answers while it is not stuck.
type loop struct{ stuck chan struct{} }

func (l *loop) ask() {
	if l.stuck != nil {
		<-l.stuck
	}
}

// checkFor calls Check once a second, and returns after how long it failed; 0: it did not.
func checkFor(w *Watch, l *loop, d time.Duration, diskHangs func(time.Duration) bool) time.Duration {
	for began := time.Now(); time.Since(began) < d; time.Sleep(time.Second) {
		if err := w.Check(l.ask, diskHangs(time.Since(began))); errors.Is(err, ErrStuck) {
			return time.Since(began)
		}
	}
	return 0
}

func TestWatch(t *testing.T) {
	never := func(time.Duration) bool { return false }
	for name, c := range map[string]struct {
		stuck     bool
		receiving bool
		diskHangs func(time.Duration) bool
		want      time.Duration
	}{
		"Answers":             {false, false, never, 0},
		"Stuck":               {true, false, never, Limit + time.Second},
		"DiskHangs":           {true, false, func(time.Duration) bool { return true }, 0},
		"DiskHangsForAWhile":  {true, false, func(since time.Duration) bool { return since < time.Minute }, time.Minute + Limit},
		"ReceivesASnapshot":   {true, true, never, receivingLimit + time.Second},
		"AnsweredAndReceives": {false, true, never, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, l := &Watch{}, &loop{}
				if c.stuck {
					l.stuck = make(chan struct{})
					defer close(l.stuck)
				}
				if c.receiving {
					w.NoteReceiving()
				}
				if got := checkFor(w, l, time.Hour, c.diskHangs); got != c.want {
					t.Errorf("fails after %v, want %v", got, c.want)
				}
			})
		})
	}
}

// A loop that answers again is well again, and a snapshot excuses only the silence that it made.
func TestWatchRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, l := &Watch{}, &loop{stuck: make(chan struct{})}
		never := func(time.Duration) bool { return false }
		w.NoteReceiving()
		if got := checkFor(w, l, 5*time.Minute, never); got != 0 {
			t.Errorf("fails after %v of a snapshot", got)
		}
		close(l.stuck)
		synctest.Wait()
		l.stuck = nil
		if got := checkFor(w, l, 5*time.Minute, never); got != 0 {
			t.Errorf("fails after %v though it answers", got)
		}
		l.stuck = make(chan struct{})
		defer close(l.stuck)
		if got := checkFor(w, l, 5*time.Minute, never); got < Limit || got > Limit+2*time.Second {
			t.Errorf("fails after %v, want %v", got, Limit)
		}
	})
}
