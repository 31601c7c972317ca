package server_test

import (
	"context"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/internal/server"
)

// saveAs sends what a client that announces sends.
func saveAs(t *testing.T, w *world, q *profilev1.SaveRequest) error {
	t.Helper()
	return profilev1.Announce(soon(t), profilev1.Profiles_Save_FullMethodName, q, &profilev1.SaveResponse{}, w.conn,
		func(ctx context.Context, method string, in, out any, conn *grpc.ClientConn, options ...grpc.CallOption) error {
			return conn.Invoke(ctx, method, in, out, options...)
		})
}

// What a call announces is made room for before it is here; small ones, and what brings no data, find room beside it.
func TestLargeCallsAreRefusedBeforeTheirDataIsHere(t *testing.T) {
	w, node := fake(t, server.Limits{Received: fsm.MaxData + 1<<20})
	g := w.register("gs-1")
	saving := func(key string, size int) *profilev1.SaveRequest {
		return g.saving(key, g.start(key, wait).Header.Token, 0, noise(size))
	}
	a, b, small := saving("a", fsm.MaxData), saving("b", fsm.MaxData), saving("c", 1000)
	hold, held := make(chan struct{}), make(chan struct{}, 8)
	letGo := sync.OnceFunc(func() { close(hold) })
	defer letGo()
	node.Before = func(command *fsm.Command) error {
		if command.GetPutPart() != nil {
			select {
			case held <- struct{}{}:
			default:
			}
			<-hold
		}
		return nil
	}
	done := make(chan error, 1)
	go func() { done <- saveAs(t, w, a) }()
	<-held
	wantReason(t, saveAs(t, w, b), profilev1.Reason_REASON_BUSY)
	if err := saveAs(t, w, small); err != nil {
		t.Errorf("a small save beside a large one: %v", err)
	}
	w.get("c")
	letGo()
	if err := <-done; err != nil {
		t.Errorf("the large save: %v", err)
	}
	for tries := 0; ; tries++ { // the room is given back when the call has ended, which is a moment after its answer
		err := saveAs(t, w, b)
		if err == nil {
			break
		}
		if wantReason(t, err, profilev1.Reason_REASON_BUSY); tries == 1000 {
			t.Fatal("there is never room again")
		}
	}
}

// Who announces little and brings much is refused; who announces nothing is not.
func TestWhoAnnouncesMustSayTheTruth(t *testing.T) {
	w, _ := fake(t, server.Limits{})
	g := w.register("gs-1")
	token := g.start("p", wait).Header.Token
	for _, said := range []string{"20000", "-5", "0"} {
		ctx := metadata.AppendToOutgoingContext(soon(t), profilev1.BytesKey, said)
		_, err := g.profiles.Save(ctx, g.saving("p", token, 0, noise(100_000)))
		wantReason(t, err, profilev1.Reason_REASON_INVALID)
	}
	for i, said := range []string{"100000", "99999999999999999999", "many"} {
		ctx := metadata.AppendToOutgoingContext(soon(t), profilev1.BytesKey, said)
		if _, err := g.profiles.Save(ctx, g.saving("p", token, uint64(i), noise(100_000))); err != nil {
			t.Errorf("announced as %s: %v", said, err)
		}
	}
	g.save("p", token, 3, noise(100_000))
}

// What is read for answers waits while too much is, as long as the caller does; a full line refuses. A session that was
// granted without room to tell of it is told of later.
func TestReadsWaitForRoom(t *testing.T) {
	w, _ := fake(t, server.Limits{ReadBytes: fsm.MaxData})
	g := w.register("gs-1")
	token := g.start("p", wait).Header.Token
	g.save("p", token, 0, noise(fsm.MaxData))
	giveBack := w.server.HoldReads()

	get := &profilev1.GetRequest{Store: "players", Key: "p"}
	brief, cancel := context.WithCancel(soon(t))
	waits := make(chan error, 1)
	go func() {
		_, err := w.profiles.Get(brief, get)
		for err != nil && status.Code(err) == codes.ResourceExhausted { // the other one was in line first
			_, err = w.profiles.Get(brief, get)
		}
		waits <- err
	}()
	for { // the first is in line once a second is refused
		ctx, cancel := context.WithTimeout(context.Background(), patience/100)
		_, err := w.profiles.Get(ctx, get)
		cancel()
		if status.Code(err) != codes.DeadlineExceeded {
			wantReason(t, err, profilev1.Reason_REASON_BUSY)
			break
		}
	}
	if _, err := w.profiles.Get(soon(t), &profilev1.GetRequest{Store: "players", Key: "p", WithoutData: true}); err != nil {
		t.Errorf("a read without data: %v", err)
	}
	release := g.next()
	if _, err := g.profiles.Release(soon(t), &profilev1.ReleaseRequest{Request: release, Store: "players", Key: "p", Token: token}); err != nil {
		t.Fatal(err)
	}
	start := &profilev1.StartSessionRequest{Request: g.next(), Store: "players", Key: "p"}
	_, err := g.profiles.StartSession(soon(t), start)
	wantReason(t, err, profilev1.Reason_REASON_UNKNOWN)
	cancel()
	if err := <-waits; status.Code(err) != codes.Canceled {
		t.Errorf("a read whose caller left: %v", err)
	}
	giveBack()
	again, err := g.profiles.StartSession(soon(t), start)
	if err != nil || !again.Header.Repeated || len(again.Profile.GetData()) != fsm.MaxData {
		t.Errorf("the session, asked for again: %d bytes, %v", len(again.GetProfile().GetData()), err)
	}
	w.get("p")
}
