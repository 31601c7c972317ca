package liveness

import (
	"context"
	"errors"
	"net"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

// runWithDetector runs test in virtual time, with a running detector of one leadership and one living game server,
// incarnation 7.
func runWithDetector(t *testing.T, test func(t *testing.T, l *fakeLeadership)) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLeadership(t)
		l.register(7)
		l.run()
		time.Sleep(time.Second)
		test(t, l)
	})
}

// renewFor renews an incarnation every second, until the test ends at the latest.
func (l *fakeLeadership) renewFor(t *testing.T, inc lock.Incarnation, long time.Duration) {
	for end := time.Now().Add(long); time.Now().Before(end) && t.Context().Err() == nil; {
		if err := l.detector.NoteRenewal(t.Context(), inc, time.Now()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
		select {
		case <-t.Context().Done():
		case <-time.After(time.Second):
		}
	}
}

// mustBe fails the test unless inc was expired on the ground want, or not at all for lock.Living.
func (l *fakeLeadership) mustBe(t *testing.T, inc lock.Incarnation, want lock.Ground, when string) {
	t.Helper()
	synctest.Wait()
	if got := l.groundOf(inc); got != want {
		t.Errorf("%s: ground %v, want %v", when, got, want)
	}
}

func TestSilenceExpiresAfterALease(t *testing.T) {
	runWithDetector(t, func(t *testing.T, l *fakeLeadership) {
		l.renewFor(t, 7, 30*time.Second)
		l.mustBe(t, 7, lock.Living, "while it renews")
		if got := l.detector.CountSilent(); got != 0 {
			t.Errorf("%d game servers count as silent while the only one renews", got)
		}
		time.Sleep(8 * time.Second)
		l.mustBe(t, 7, lock.Living, "within its lease")
		if got := l.detector.CountSilent(); got != 1 {
			t.Errorf("%d game servers count as silent beyond their doubt, want 1", got)
		}
		time.Sleep(3 * time.Second)
		l.mustBe(t, 7, lock.Silence, "after its lease")
	})
}

func TestEvidenceNeedsSilenceToo(t *testing.T) {
	runWithDetector(t, func(t *testing.T, l *fakeLeadership) {
		l.set(func() { l.dead[7] = true })
		l.renewFor(t, 7, 20*time.Second)
		l.mustBe(t, 7, lock.Living, "while it renews")
		time.Sleep(5 * time.Second)
		l.mustBe(t, 7, lock.Evidence, "after it was silent")
	})
}

// A leader that confirms no renewals must not count the silence that it causes.
func TestASlowLeaderExpiresNoOne(t *testing.T) {
	runWithDetector(t, func(t *testing.T, l *fakeLeadership) {
		l.renewFor(t, 7, 3*time.Second)
		l.set(func() { l.slow = errors.New("an entry is stuck") })
		time.Sleep(time.Minute)
		l.mustBe(t, 7, lock.Living, "while the leader is slow")
		l.set(func() { l.slow = nil })
		time.Sleep(12 * time.Second)
		l.mustBe(t, 7, lock.Silence, "a lease after the leader was prompt again")
	})
}

func TestAnEndedStreamAndTwoRefusalsAreProof(t *testing.T) {
	runWithDetector(t, func(t *testing.T, l *fakeLeadership) {
		frame := lock.PingFrame(7)
		answers := func() (net.Conn, error) {
			ours, theirs := net.Pipe()
			go func() {
				theirs.Write(frame[:])
				theirs.Close()
			}()
			return ours, nil
		}
		l.set(func() { l.dial = answers })
		s := &Stream{Incarnation: 7, PeerHost: "gs"}
		l.detector.AddStream(s)
		l.renewFor(t, 7, 2*time.Second)
		l.set(func() { l.dial = func() (net.Conn, error) { return nil, syscall.ECONNREFUSED } })
		l.mustBe(t, 7, lock.Living, "with an open stream")
		l.detector.NoteStreamEnd(s, true)
		time.Sleep(time.Second)
		l.mustBe(t, 7, lock.Proof, "a second after its host ended the stream")
	})
}

// The owner of a contested grant is asked for the hand-off time, then its grant is revoked, then it lapses.
func TestAContestedGrantIsRevokedThenLapses(t *testing.T) {
	runWithDetector(t, func(t *testing.T, l *fakeLeadership) {
		go l.renewFor(t, 7, time.Minute)
		grant := fsm.OwnedGrant{Store: "s", Key: "k"}
		grant.Owner, grant.Token = 7, 9
		contest := func(g fsm.OwnedGrant) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.contested = []fsm.OwnedGrant{g}
		}
		contest(grant)
		timing := lock.DefaultTiming()
		count := func(is func(*fsm.Command) bool) (found int) {
			l.mu.Lock()
			defer l.mu.Unlock()
			for _, c := range l.proposed {
				if is(c) {
					found++
				}
			}
			return found
		}
		revokes := func(c *fsm.Command) bool { return c.GetRevoke().GetToken() == 9 }
		lapses := func(c *fsm.Command) bool { return c.GetLapse().GetToken() == 9 && c.GetLapse().GetTerm() == 5 }
		time.Sleep(timing.HandOff - time.Second)
		if pending, ok := l.detector.PendingSince(grant); !ok || pending < timing.HandOff-2*time.Second || count(revokes) > 0 {
			t.Errorf("before the hand-off time: pending %v, revoked %d times", pending, count(revokes))
		}
		time.Sleep(2 * time.Second)
		if count(revokes) != 1 {
			t.Errorf("after the hand-off time: revoked %d times, want once", count(revokes))
		}
		grant.Revoked = true
		contest(grant)
		time.Sleep(timing.Evidence - time.Second)
		if count(lapses) > 0 {
			t.Error("the grant lapsed while its owner may not be in doubt yet")
		}
		time.Sleep(2 * time.Second)
		if count(lapses) != 1 {
			t.Errorf("after evidence time: lapsed %d times, want once", count(lapses))
		}
	})
}

func TestARenewalEndsWithTheLeadership(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		d := New(ctx, newFakeLeadership(t), Config{Settings: lock.DefaultDetector()})
		d.openExpiries[7] = &openExpiry{decided: make(chan struct{})}
		time.AfterFunc(time.Second, cancel)
		if err := d.NoteRenewal(t.Context(), 7, time.Now()); !errors.Is(err, ErrLeadershipOver) {
			t.Errorf("a renewal that waits for an expiry when the leadership ends: %v", err)
		}
	})
}

// handOffs is a leadership with one contested grant, and the times after its opening at which commands on it are proposed.
type handOffs struct {
	*fakeLeadership
	grant fsm.OwnedGrant
}

func newHandOffs(l *fakeLeadership) *handOffs {
	h := &handOffs{fakeLeadership: l}
	h.grant.Store, h.grant.Key, h.grant.Owner, h.grant.Token = "s", "k", 7, 9
	return h
}

// contest changes the grant in the tables, which have a timestamp.
func (h *handOffs) contest(stampMS int64, change func(g *fsm.OwnedGrant)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change(&h.grant)
	h.contested, h.stampMS = []fsm.OwnedGrant{h.grant}, stampMS
}

// firstAfter renews the owner until a command is proposed, and returns how long after a moment that was.
func (h *handOffs) firstAfter(t *testing.T, since time.Time, is func(*fsm.Command) bool) time.Duration {
	t.Helper()
	for time.Since(since) < time.Minute {
		if err := h.detector.NoteRenewal(t.Context(), 7, time.Now()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
		h.mu.Lock()
		found := slices.ContainsFunc(h.proposed, is)
		h.mu.Unlock()
		if found {
			return time.Since(since)
		}
	}
	t.Fatal("nothing is proposed within a minute")
	return 0
}

func revokesToken9(c *fsm.Command) bool { return c.GetRevoke().GetToken() == 9 }

// around fails the test unless a time is at least this long, and at most a tick and a look longer.
func around(t *testing.T, what string, got, want time.Duration) {
	t.Helper()
	if got < want || got > want+lock.DefaultDetector().TickPeriod+50*time.Millisecond {
		t.Errorf("%s after %v, want after %v", what, got, want)
	}
}

func TestAHandOffCountsOnTheLeadersClockFromTheEntryThatAsked(t *testing.T) {
	for _, jump := range []time.Duration{0, time.Hour, -time.Hour} {
		runWithDetector(t, func(t *testing.T, l *fakeLeadership) {
			h := newHandOffs(l)
			time.Sleep(10 * time.Millisecond) // after a tick
			asked := time.Now()
			stamp := int64(10_000_000)
			l.detector.NoteEvents([]fsm.Event{{Kind: fsm.LetGo, Server: 7, Store: "s", Key: "k", Token: 9, WantedMS: stamp}})
			h.contest(stamp+jump.Milliseconds(), func(g *fsm.OwnedGrant) { g.WantedMS = stamp })
			time.Sleep(100 * time.Millisecond)
			if pending, ok := l.detector.PendingSince(h.grant); !ok || pending != 100*time.Millisecond {
				t.Errorf("100 ms after the entry the owner is waited for since %v, %v", pending, ok)
			}
			h.renewFor(t, 7, 5*time.Second)
			l.detector.NoteEvents([]fsm.Event{{Kind: fsm.LetGo, Server: 7, Store: "s", Key: "k", Token: 9, WantedMS: stamp}}) // another one waits
			around(t, "revoked", h.firstAfter(t, asked, revokesToken9), lock.DefaultTiming().HandOff)
		})
	}
}

func TestAHandOffThatWasTakenBackAndAskedForAgainHasItsWholeTime(t *testing.T) {
	runWithDetector(t, func(t *testing.T, l *fakeLeadership) {
		h := newHandOffs(l)
		h.contest(1000, func(g *fsm.OwnedGrant) { g.WantedMS = 1000 })
		h.renewFor(t, 7, 9*time.Second)
		asked := time.Now()
		h.contest(10_000, func(g *fsm.OwnedGrant) { g.WantedMS = 10_000 })
		l.detector.NoteEvents([]fsm.Event{{Kind: fsm.LetGo, Server: 7, Store: "s", Key: "k", Token: 9, WantedMS: 10_000}})
		around(t, "revoked", h.firstAfter(t, asked, revokesToken9), lock.DefaultTiming().HandOff)
	})
}

// A new leader takes the age of the request by timestamps, but leaves the owner half of the time, which may hear of it only
// now.
func TestANewLeaderTakesTheAgeOfAHandOffAndLeavesHalfOfItsTime(t *testing.T) {
	whole := lock.DefaultTiming().HandOff
	for _, test := range []struct {
		name      string
		age, left time.Duration
	}{
		{"asked a moment ago", 0, whole},
		{"three seconds ago", 3 * time.Second, whole - 3*time.Second},
		{"nine seconds ago", 9 * time.Second, whole / 2},
		{"a minute ago, in an outage", time.Minute, whole / 2},
		{"a year ago, by a wrong clock", 365 * 24 * time.Hour, whole / 2},
		{"in the future, by a wrong clock", -time.Hour, whole},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newFakeLeadership(t)
				l.register(7)
				h := newHandOffs(l)
				stamp := int64(1 << 45)
				h.contest(stamp, func(g *fsm.OwnedGrant) { g.WantedMS = stamp - test.age.Milliseconds() })
				l.run()
				around(t, "revoked", h.firstAfter(t, l.opened, revokesToken9), test.left)
			})
		})
	}
}

func TestALapseCountsFromWhatThisLeaderSaw(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLeadership(t)
		l.register(7)
		h := newHandOffs(l)
		l.run()
		h.contest(1<<45, func(g *fsm.OwnedGrant) { g.Revoked, g.WantedMS = true, 1000 })
		lapses := func(c *fsm.Command) bool { return c.GetLapse().GetToken() == 9 }
		around(t, "lapsed", h.firstAfter(t, l.opened, lapses), lock.DefaultTiming().Evidence)
	})
}
