package liveness

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

// While the outcome of an expiry is unknown, its incarnation cannot renew under this leader. It can once the outcome is
// known.
func TestAnExpiryOfUnknownOutcomeHoldsRenewalsBack(t *testing.T) {
	for _, test := range []struct {
		name  string
		err   error
		holds bool
	}{
		{"unknown", errors.New("the outcome is unknown: leadership lost while committing log"), true},
		{"refused", fmt.Errorf("propose: %w", errRefused), false},
		{"applied", nil, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newFakeLeadership(t)
				l.outcome = func(*fsm.Command) (fsm.Result, error) { return fsm.Result{}, test.err }
				const expired = lock.Incarnation(7)
				l.detector.openExpiries[expired] = &openExpiry{decided: make(chan struct{})}
				l.detector.proposeExpiries([]*fsm.Expiry{{Incarnation: uint64(expired)}})

				brief, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				err := l.detector.NoteRenewal(brief, expired, time.Now())
				if held := errors.Is(err, context.DeadlineExceeded); held != test.holds || !held && err != nil {
					t.Errorf("a renewal after the expiry: %v, want it held back: %v", err, test.holds)
				}
			})
		})
	}
}

// A game server is expired while ten thousand contested profiles are worked on, and its profiles are granted meanwhile.
func TestAnExpiryDoesNotWaitForContestedProfiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLeadership(t)
		const owner, gone = lock.Incarnation(7), lock.Incarnation(8)
		l.register(owner)
		l.register(gone)
		for i := range MaxContested {
			g := fsm.OwnedGrant{Store: "s", Key: fmt.Sprint(i)}
			g.Owner, g.Token = owner, 1
			l.contested = append(l.contested, g)
		}
		var revoked, granted atomic.Int64
		l.waitBefore = func(c *fsm.Command) {
			switch {
			case c.GetRevoke() != nil:
				revoked.Add(1)
				select {
				case <-time.After(time.Second):
				case <-t.Context().Done():
				}
			case c.GetGrantToWaiters().GetIncarnation() == uint64(gone):
				granted.Add(1)
			}
		}
		l.run()
		renewing := time.NewTicker(time.Second)
		defer renewing.Stop()
		began := time.Now()
		for range 12 {
			if err := l.detector.NoteRenewal(t.Context(), owner, time.Now()); err != nil {
				t.Fatal(err)
			}
			<-renewing.C
		}
		if ground := l.groundOf(gone); ground != lock.Silence {
			t.Errorf("%v after the start the silent one is %v, want expired by silence", time.Since(began), ground)
		}
		if revoked.Load() == 0 || revoked.Load() > MaxContested/2 || granted.Load() == 0 {
			t.Errorf("%d contested profiles were revoked, and %d grants made, want both under way", revoked.Load(), granted.Load())
		}
	})
}

// An expiry that waited behind others is dropped if its game server was heard meanwhile, and its renewals are answered. What a
// proof shows stands.
func TestAnExpiryThatWaitedIsDroppedIfItsGameServerWasHeard(t *testing.T) {
	for _, test := range []struct {
		name      string
		bySilence bool
	}{{"by silence", true}, {"by proof", false}} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newFakeLeadership(t)
				const inc = lock.Incarnation(7)
				l.register(inc)
				d := l.detector
				d.openExpiries[inc] = &openExpiry{decided: make(chan struct{}), bySilence: test.bySilence}
				renewed := make(chan error, 1)
				go func() { renewed <- d.NoteRenewal(t.Context(), inc, time.Now()) }()
				synctest.Wait()
				left := d.dropHeard([]*fsm.Expiry{{Incarnation: uint64(inc)}})
				if dropped := len(left) == 0; dropped != test.bySilence {
					t.Errorf("dropped: %v, want %v", dropped, test.bySilence)
				}
				if test.bySilence {
					if err := <-renewed; err != nil {
						t.Errorf("the renewal that waited: %v", err)
					}
				}
			})
		})
	}
}

// An incarnation that ends costs an entry more only if waiters are to be granted what it owned.
func TestOnlyContestedProfilesOfTheGoneAreGranted(t *testing.T) {
	runWithDetector(t, func(t *testing.T, l *fakeLeadership) {
		const plain, contested = lock.Incarnation(8), lock.Incarnation(9)
		l.detector.NoteEvents([]fsm.Event{{Kind: fsm.ServerEnded, Server: plain}, {Kind: fsm.ServerEnded, Server: contested, Contested: true}})
		time.Sleep(3 * time.Second)
		var granted []lock.Incarnation
		l.mu.Lock()
		for _, c := range l.proposed {
			if inc := c.GetGrantToWaiters().GetIncarnation(); inc != 0 {
				granted = append(granted, lock.Incarnation(inc))
			}
		}
		l.mu.Unlock()
		if !slices.Equal(granted, []lock.Incarnation{contested}) {
			t.Errorf("waiters were granted the profiles of %v, want those of %d alone", granted, contested)
		}
	})
}
