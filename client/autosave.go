package client

import (
	"container/heap"
	"context"
	"math"
	"sync"
	"time"
)

// autosaver asks for the saves of all sessions, from one goroutine. Each session has its own phase of the period, so
// that the saves of many are spread over it; it never waits for one of them.
type autosaver struct {
	period time.Duration // 0: never
	began  time.Time
	wake   chan struct{}

	mu    sync.Mutex
	added uint64
	queue autosaveQueue
	of    map[*session]*autosaveTurn
}

// autosaveTurn is a session's next time.
type autosaveTurn struct {
	s     *session
	due   time.Time
	phase time.Duration
	place int // in the queue
}

func newAutosaver(period time.Duration) *autosaver {
	return &autosaver{period: period, began: time.Now(), wake: make(chan struct{}, 1), of: make(map[*session]*autosaveTurn)}
}

// addSession gives a session its phase. Steps of the golden ratio spread any number of sessions evenly, whenever they come.
func (a *autosaver) addSession(s *session) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.added++
	_, phase := math.Modf(float64(a.added) / math.Phi)
	t := &autosaveTurn{s: s, phase: time.Duration(phase * float64(a.period))}
	t.due = a.nextTurnAfter(t, time.Now())
	a.of[s] = t
	heap.Push(&a.queue, t)
	a.wakeUp()
}

// nextTurnAfter is the next time of a turn's phase. Without a period it never comes.
func (a *autosaver) nextTurnAfter(t *autosaveTurn, now time.Time) time.Time {
	if a.period == 0 {
		return now.Add(math.MaxInt64 / 4)
	}
	passed := now.Sub(a.began) - t.phase
	next := (passed/a.period + 1) * a.period
	if passed < 0 {
		next = 0
	}
	return a.began.Add(t.phase + next)
}

func (a *autosaver) removeSession(s *session) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if t := a.of[s]; t != nil {
		heap.Remove(&a.queue, t.place)
		delete(a.of, s)
	}
}

// saveSoon brings a session's turn forward.
func (a *autosaver) saveSoon(s *session, d time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.of[s]
	if due := time.Now().Add(d); t != nil && due.Before(t.due) {
		t.due = due
		heap.Fix(&a.queue, t.place)
		a.wakeUp()
	}
}

// noteSaved takes the result of a save. A refused one is tried again before its turn, after a pause that grows.
func (a *autosaver) noteSaved(s *session, err error) {
	failures := s.saves.countFailures(err)
	if err != nil && a.period > 0 {
		a.saveSoon(s, min(a.period/16<<min(failures, 10), a.period))
	}
}

func (a *autosaver) wakeUp() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

func (a *autosaver) runUntil(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-a.wake:
		case <-ctx.Done():
			return
		}
		due, wait := a.takeDue(time.Now())
		for _, s := range due {
			s.saves.requestAutosave()
		}
		timer.Reset(wait)
	}
}

// takeDue returns the sessions that are due for an autosave now, and the time until the next one is.
func (a *autosaver) takeDue(now time.Time) ([]*session, time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var sessions []*session
	for len(a.queue) > 0 {
		t := a.queue[0]
		if t.due.After(now) {
			return sessions, t.due.Sub(now)
		}
		sessions = append(sessions, t.s)
		t.due = a.nextTurnAfter(t, now)
		heap.Fix(&a.queue, 0)
	}
	return sessions, time.Hour
}

// autosaveQueue is a heap of turns, the next one first.
type autosaveQueue []*autosaveTurn

func (q autosaveQueue) Len() int           { return len(q) }
func (q autosaveQueue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }
func (q autosaveQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].place, q[j].place = i, j
}

func (q *autosaveQueue) Push(x any) {
	t := x.(*autosaveTurn)
	t.place = len(*q)
	*q = append(*q, t)
}

func (q *autosaveQueue) Pop() any {
	old := *q
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return t
}
