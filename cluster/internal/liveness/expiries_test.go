package liveness

import (
	"context"
	"errors"
	"fmt"
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
				l.detector.openExpiries[expired] = make(chan struct{})
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
