package wire

import (
	"context"
	"testing"
	"testing/synctest"

	"google.golang.org/protobuf/proto"

	"github.com/profilenode/profilenode/api/profilev1"
)

func TestMarkWaitsForTheLowest(t *testing.T) {
	n := NewNumbers()
	for want := uint64(1); want <= 4; want++ {
		if got, ok := n.TakeNumber(t.Context(), nil); !ok || got != want {
			t.Fatalf("take: got %d, %v, want %d", got, ok, want)
		}
	}
	for _, step := range []struct{ settle, mark uint64 }{{2, 0}, {4, 0}, {1, 2}, {1, 2}, {3, 4}} {
		n.SettleNumber(step.settle)
		if got := n.SettledMark(); got != step.mark {
			t.Errorf("after settling %d: got mark %d, want %d", step.settle, got, step.mark)
		}
	}
}

func TestWindowIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNumbers()
		for range window {
			if _, ok := n.TakeNumber(t.Context(), nil); !ok {
				t.Fatal("a number within the window was not taken")
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, ok := n.TakeNumber(ctx, nil); ok {
			t.Error("a number beyond the window was taken")
		}
		taken := make(chan uint64)
		go func() {
			number, _ := n.TakeNumber(t.Context(), nil)
			taken <- number
		}()
		synctest.Wait()
		n.SettleNumber(1)
		if got := <-taken; got != window+1 {
			t.Errorf("take once there is room: got %d, want %d", got, window+1)
		}
	})
}

func TestFingerprint(t *testing.T) {
	save := &profilev1.SaveRequest{Store: "s", Key: "k", Token: 7}
	fingerprint := func(request proto.Message) uint64 {
		hash, err := HashRequest(request)
		if err != nil {
			t.Fatal(err)
		}
		return hash
	}
	want := fingerprint(save)
	SetRequestHeader(save, &profilev1.Request{Incarnation: 1, Number: 2, Settled: 1, Hash: want})
	if got := fingerprint(save); got != want || got == 0 {
		t.Errorf("with a request in it: got %x, want %x", got, want)
	}
	save.Token = 8
	if fingerprint(save) == want {
		t.Error("another token has the same fingerprint")
	}
	if fingerprint(&profilev1.StartSessionRequest{Store: "s", Key: "k"}) == fingerprint(&profilev1.RemoveRequest{Store: "s", Key: "k"}) {
		t.Error("a start and a removal of one profile have the same fingerprint")
	}
}
