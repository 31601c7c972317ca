package liveness

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

const nowMS = 1_000_000 // the fake leaders' time

// A leader that most game servers are silent towards suspects its own node before it expires them, for one lease at most.
func TestALeaderThatHearsFewGameServersSuspectsItself(t *testing.T) {
	lease := lock.DefaultTiming().Lease
	const soon = 2 * time.Second
	answer := func(reached map[string]int) func([]PingPort) (map[string]int, int) {
		return func(ports []PingPort) (map[string]int, int) { return reached, 3 }
	}
	for _, test := range []struct {
		name      string
		living    int
		renewing  int
		change    func(*fakeLeadership)
		asks      bool
		handedTo  string
		expiresBy time.Duration // the first expiry comes after a lease and in this time more; 0: none while the lead is not handed over
	}{
		{"nine are too few", 9, 0, nil, false, "", soon},
		{"half of them", 12, 6, nil, false, "", soon},
		{"most of them, and nobody reaches any", 12, 5, nil, true, "", soon},
		{"others do not answer", 12, 0, func(l *fakeLeadership) { l.askVoters = answer(nil) }, true, "", lease + soon},
		{"one other answers that it reaches none", 12, 0, func(l *fakeLeadership) { l.askVoters = answer(map[string]int{"b": 0}) }, true, "", soon},
		{"another reaches some", 12, 0, func(l *fakeLeadership) { l.askVoters = answer(map[string]int{"b": 0, "c": 1}) }, true, "c", 0},
		{"both reach some", 12, 0, func(l *fakeLeadership) { l.askVoters = answer(map[string]int{"b": 9, "c": 1}) }, true, "b", 0},
		{"a leader was suspected lately", 12, 0, func(l *fakeLeadership) {
			l.suspected = fsm.SuspectedLeader{Term: 4, StampMS: nowMS - suspicionStands.Milliseconds() + 1}
			l.askVoters = answer(map[string]int{"b": 9})
		}, false, "", soon},
		{"a leader was suspected long ago", 12, 0, func(l *fakeLeadership) {
			l.suspected = fsm.SuspectedLeader{Term: 4, StampMS: nowMS - suspicionStands.Milliseconds()}
			l.askVoters = answer(map[string]int{"b": 9})
		}, true, "b", 0},
		{"one was suspected, and the time is not known", 12, 0, func(l *fakeLeadership) {
			l.suspected, l.stampMS = fsm.SuspectedLeader{Term: 4}, 0
		}, false, "", soon},
		{"they have no ping ports", 12, 0, func(l *fakeLeadership) {
			for inc, s := range l.servers {
				s.Ping = ""
				l.servers[inc] = s
			}
		}, false, "", soon},
		{"their ping ports are on other hosts", 12, 0, func(l *fakeLeadership) {
			for inc, s := range l.servers {
				s.Peer = "elsewhere:50000"
				l.servers[inc] = s
			}
		}, false, "", soon},
		{"most are silent, counted with tools", 18, 6, func(l *fakeLeadership) {
			for inc := lock.Incarnation(10); inc <= 18; inc++ {
				s := l.servers[inc]
				s.Tool = true
				l.servers[inc] = s
			}
		}, false, "", soon},
		{"the row cannot be written", 12, 0, func(l *fakeLeadership) {
			l.askVoters = answer(map[string]int{"b": 9})
			l.outcome = func(c *fsm.Command) (fsm.Result, error) {
				if c.GetSuspectLeader() != nil {
					return fsm.Result{}, errors.New("the outcome is unknown")
				}
				return fsm.Result{}, nil
			}
		}, true, "", lease + soon},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newFakeLeadership(t)
				l.stampMS = nowMS
				for inc := range test.living {
					l.register(lock.Incarnation(inc + 1))
				}
				if test.change != nil {
					test.change(l)
				}
				l.run()
				began, expiredAt := time.Now(), time.Duration(0)
				for tick := time.NewTicker(100 * time.Millisecond); expiredAt == 0 && time.Since(began) < 3*lease; <-tick.C {
					for inc := range test.renewing {
						if err := l.detector.NoteRenewal(t.Context(), lock.Incarnation(inc+1), time.Now()); err != nil {
							t.Fatal(err)
						}
					}
					l.set(func() {
						for _, c := range l.proposed {
							if c.GetExpireServers() != nil {
								expiredAt = time.Since(began)
							}
						}
					})
					if l.handedToNow() != "" && expiredAt == 0 {
						break
					}
				}
				if test.expiresBy == 0 && expiredAt != 0 || test.expiresBy > 0 && (expiredAt < lease || expiredAt > lease+test.expiresBy) {
					t.Errorf("the first expiry came after %v", expiredAt)
				}
				if test.expiresBy > soon && expiredAt < 2*lease-soon {
					t.Errorf("held for less than a lease: the first expiry came after %v", expiredAt)
				}
				l.mu.Lock()
				defer l.mu.Unlock()
				if asks := l.asked > 0; asks != test.asks || l.handedTo != test.handedTo {
					t.Errorf("the voters were asked: %v, the lead went to %q; want %v, %q", asks, l.handedTo, test.asks, test.handedTo)
				}
				if l.handedTo != "" && l.suspected != (fsm.SuspectedLeader{Term: l.Term(), StampMS: nowMS}) {
					t.Errorf("before the lead was handed over the row was %+v", l.suspected)
				}
			})
		})
	}
}

// A game server that is heard while its expiry is held is not expired.
func TestAHeldExpiryIsDroppedOnceItsGameServerIsHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLeadership(t)
		l.stampMS = nowMS
		const heard = lock.Incarnation(3)
		for inc := range 12 {
			l.register(lock.Incarnation(inc + 1))
		}
		l.askVoters = func([]PingPort) (map[string]int, int) { return nil, 3 }
		l.run()
		time.Sleep(15 * time.Second)
		brief, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := l.detector.NoteRenewal(brief, heard, time.Now()); err != nil {
			t.Fatalf("a renewal while expiries are held: %v", err)
		}
		time.Sleep(8 * time.Second)
		if ground := l.groundOf(heard); ground != lock.Living {
			t.Errorf("expired by %v, eight seconds after it was heard", ground)
		}
		if ground := l.groundOf(heard + 1); ground != lock.Silence {
			t.Errorf("another is %v, want expired by silence", ground)
		}
	})
}
