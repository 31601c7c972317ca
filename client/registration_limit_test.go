package client_test

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/profilenode/profilenode/api/profilev1"
)

// A client whose registration is over a limit waits as long as it is told and longer, tries again, and says why in its log.
func TestAClientWaitsWhileRegistrationsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town, log := newTown(t, "n1:7400"), &logged{}
		began, tries := time.Now(), []time.Duration(nil)
		town.Set(func() {
			town.Before = func(_, method string, _ proto.Message) error {
				if method != "Register" {
					return nil
				}
				if tries = append(tries, time.Since(began)); len(tries) == 3 {
					return nil
				}
				return refuse(&profilev1.Refusal{Reason: profilev1.Reason_REASON_REGISTRATION_LIMITED, RetryAfterMs: 1000})
			}
		})
		config := town.config("a")
		config.Log = slog.New(slog.NewTextHandler(log, nil))
		town.open(t, config)
		for i, least := range []time.Duration{time.Second, 2 * time.Second} {
			if pause := tries[i+1] - tries[i]; pause < least || pause > 2*least+time.Second {
				t.Errorf("pause %d is %v, want %v to %v", i, pause, least, 2*least)
			}
		}
		if said := log.count("not registered yet"); said == 0 {
			t.Error("the log does not say that it waits")
		}
	})
}
