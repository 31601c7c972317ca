package liveness

import (
	"context"
	"errors"
	"net"
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
		time.Sleep(8 * time.Second)
		l.mustBe(t, 7, lock.Living, "within its lease")
		time.Sleep(3 * time.Second)
		l.mustBe(t, 7, lock.Silence, "after its lease")
	})
}

func TestEvidenceNeedsSilenceToo(t *testing.T) {
	runWithDetector(t, func(t *testing.T, l *fakeLeadership) {
		l.dead[7] = true
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
		l.slow = errors.New("an entry is stuck")
		time.Sleep(time.Minute)
		l.mustBe(t, 7, lock.Living, "while the leader is slow")
		l.slow = nil
		time.Sleep(12 * time.Second)
		l.mustBe(t, 7, lock.Silence, "a lease after the leader was prompt again")
	})
}

func TestAnEndedStreamAndTwoRefusalsAreProof(t *testing.T) {
	runWithDetector(t, func(t *testing.T, l *fakeLeadership) {
		frame := lock.PingFrame(7)
		l.dial = func() (net.Conn, error) {
			ours, theirs := net.Pipe()
			go func() {
				theirs.Write(frame[:])
				theirs.Close()
			}()
			return ours, nil
		}
		s := &Stream{Incarnation: 7, PeerHost: "gs"}
		l.detector.AddStream(s)
		l.renewFor(t, 7, 2*time.Second)
		l.dial = func() (net.Conn, error) { return nil, syscall.ECONNREFUSED }
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
		d.openExpiries[7] = make(chan struct{})
		time.AfterFunc(time.Second, cancel)
		if err := d.NoteRenewal(t.Context(), 7, time.Now()); !errors.Is(err, ErrLeadershipOver) {
			t.Errorf("a renewal that waits for an expiry when the leadership ends: %v", err)
		}
	})
}
