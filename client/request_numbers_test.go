package client

import (
	"context"
	"testing"
	"testing/synctest"

	"google.golang.org/protobuf/proto"

	"github.com/profilenode/profilenode/api/profilev1"
)

func TestMarkWaitsForTheLowest(t *testing.T) {
	n := newRequestNumbers()
	for want := uint64(1); want <= 4; want++ {
		if got, err := n.takeNumber(t.Context(), nil); err != nil || got != want {
			t.Fatalf("take: got %d, %v, want %d", got, err, want)
		}
	}
	for _, step := range []struct{ settle, mark uint64 }{{2, 0}, {4, 0}, {1, 2}, {1, 2}, {3, 4}} {
		n.settleNumber(step.settle)
		if got := n.settledMark(); got != step.mark {
			t.Errorf("after settling %d: got mark %d, want %d", step.settle, got, step.mark)
		}
	}
}

func TestWindowIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newRequestNumbers()
		for range window {
			if _, err := n.takeNumber(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := n.takeNumber(ctx, nil); err == nil {
			t.Error("take beyond the window: got no error")
		}
		taken := make(chan uint64)
		go func() {
			number, _ := n.takeNumber(t.Context(), nil)
			taken <- number
		}()
		synctest.Wait()
		n.settleNumber(1)
		if got := <-taken; got != window+1 {
			t.Errorf("take once there is room: got %d, want %d", got, window+1)
		}
	})
}

func TestFingerprint(t *testing.T) {
	save := &profilev1.SaveRequest{Store: "s", Key: "k", Token: 7}
	fingerprint := func(request proto.Message) uint64 {
		hash, err := hashRequest(request)
		if err != nil {
			t.Fatal(err)
		}
		return hash
	}
	want := fingerprint(save)
	setRequestHeader(save, &profilev1.Request{Incarnation: 1, Number: 2, Settled: 1, Hash: want})
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
