package client

import (
	"testing"
	"time"

	"github.com/profilenode/profilenode/lock"
)

// The limit for doubt ends a session only after one more try that began when it had run out: a process that was stopped
// for longer than the limit gets that try first.
func TestLimitNeedsOneMoreTry(t *testing.T) {
	const limit = 20 * time.Second
	start := time.Now()
	at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
	for _, c := range []struct {
		name   string
		now    int
		failed []int
		limit  time.Duration
		want   bool
	}{
		{"within the limit", 19, []int{18}, limit, false},
		{"stopped through it", 60, nil, limit, false},
		{"stopped through it after a failed try", 60, []int{5}, limit, false},
		{"a try failed after it", 60, []int{5, 59}, limit, true},
		{"no limit", 3600, []int{3599}, Forever, false},
		{"limit below doubt", 2, []int{1}, 0, false},
		{"limit below doubt, in doubt", 4, []int{3}, 0, true},
	} {
		s := &leaseState{now: func() time.Time { return at(c.now) }, timing: lock.DefaultTiming()}
		s.confirmUntil(start)
		for _, seconds := range c.failed {
			s.noteFailed(at(seconds))
		}
		if got := s.doubtExceeds(c.limit); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}
