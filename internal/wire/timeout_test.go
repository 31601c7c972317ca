package wire

import (
	"bytes"
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/profilenode/profilenode/api/profilev1"
)

func TestALargeAnswerOverASlowLinkOutlastsTheTimeout(t *testing.T) {
	for name, size := range map[string]int{"the largest profile": 4 << 20, "a page": 16 << 20} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, l := connectSlowFor(t, 256<<10, 33<<20)
				n.data = bytes.Repeat([]byte("x"), size)
				ctx, cancel := WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				if err := l.WaitReady(ctx); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				answer := &profilev1.GetResponse{}
				if _, err := get(ctx, l, answer); err != nil || len(answer.Profile.Data) != size {
					t.Fatalf("got %d bytes of %d and %v after %v", len(answer.GetProfile().GetData()), size, err, time.Since(began))
				}
				if took := time.Since(began); took < 15*time.Second {
					t.Fatalf("it took %v only: the connection was not slow", took)
				}
				if time.Sleep(10 * time.Second); ctx.Err() == nil {
					t.Error("the context outlasts its timeout by more than the transfer")
				}
			})
		})
	}
}

// A link slower than the slowest that is served is tried until the timeout, and the time of the last try's bytes.
func TestATimeoutEndsTriesThatBreakOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, l := connectSlow(t, 64<<10)
		ctx, cancel := WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		began, tries := time.Now(), 0
		for ; ctx.Err() == nil && tries < 100; tries++ {
			if err := l.WaitReady(ctx); err != nil {
				continue
			}
			if _, err := get(ctx, l, &profilev1.GetResponse{}); err == nil {
				t.Fatal("the answer came: the connection was not slow")
			}
		}
		if took := time.Since(began); took < 10*time.Second || took > 20*time.Second || tries < 2 {
			t.Errorf("it ended after %v and %d tries", took, tries)
		}
		if cause := context.Cause(ctx); cause != context.DeadlineExceeded {
			t.Errorf("got cause %v, want %v", cause, context.DeadlineExceeded)
		}
	})
}
