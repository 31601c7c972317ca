package server_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/internal/server"
	"github.com/profilenode/profilenode/lock"
)

func noise(n int) []byte {
	data := make([]byte, n)
	source := rand.NewChaCha8([32]byte{1})
	_, _ = source.Read(data)
	return data
}

// Data of every size around a border comes back byte for byte.
func TestLargeData(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		g := w.register("gs-1")
		token := g.start("p", wait).Header.Token
		for i, size := range []int{0, 1, fsm.MaxWhole, fsm.MaxWhole + 1, 2*fsm.PartBytes - 1, 2 * fsm.PartBytes, fsm.MaxData} {
			data := noise(size)
			g.save("p", token, uint64(i), data)
			got := w.get("p")
			if !bytes.Equal(got.Profile.GetData(), data) || got.Profile.GetRevision() != uint64(i+1) {
				t.Fatalf("%d bytes come back as %d at revision %d", size, len(got.Profile.GetData()), got.Profile.GetRevision())
			}
		}
		if _, err := g.profiles.Release(soon(t), &profilev1.ReleaseRequest{Request: g.next(), Store: "players", Key: "p", Token: token}); err != nil {
			t.Fatal(err)
		}
		if opened := g.start("p", wait); !bytes.Equal(opened.Profile.GetData(), noise(fsm.MaxData)) {
			t.Errorf("the next session opens with %d bytes", len(opened.Profile.GetData()))
		}
	})
}

// A large save that was done is answered, even when its incarnation may put no parts any more.
func TestLargeSaveAnsweredAfterTheEnd(t *testing.T) {
	w, node := fake(t, server.Limits{})
	g := w.register("gs-1")
	token := g.start("p", wait).Header.Token
	save := g.saving("p", token, 0, noise(fsm.MaxData))
	if _, err := g.profiles.Save(soon(t), save); err != nil {
		t.Fatal(err)
	}
	if node.Count("PutPart") != 8 {
		t.Errorf("4 MiB went up in %d parts, want 8", node.Count("PutPart"))
	}
	if _, err := g.profiles.EndServer(soon(t), &profilev1.EndServerRequest{Request: g.next()}); err != nil {
		t.Fatal(err)
	}
	again, err := g.profiles.Save(soon(t), save)
	if err != nil || !again.Header.Repeated || again.Header.Revision != 1 {
		t.Errorf("the retry is %v, %v; want the old answer", again, err)
	}
}

// While space is scarce a large save that goes on is refused before its parts fill the log, and a last one is not.
func TestNoSpaceSparesParts(t *testing.T) {
	w, node := fake(t, server.Limits{})
	g := w.register("gs-1")
	token := g.start("p", wait).Header.Token
	node.Full = func() bool { return true }
	_, err := g.profiles.Save(soon(t), g.saving("p", token, 0, noise(fsm.MaxData)))
	wantReason(t, err, profilev1.Reason_REASON_NO_SPACE)
	if node.Count("PutPart") != 0 {
		t.Errorf("%d parts went up of a save that is refused", node.Count("PutPart"))
	}
	last := g.saving("p", token, 0, noise(fsm.MaxData))
	last.End = true
	if _, err := g.profiles.Save(soon(t), last); err != nil {
		t.Errorf("a last save was refused: %v", err)
	}
}

// A part that was lost on its way loses the copy and not the request.
func TestLostPart(t *testing.T) {
	w, node := fake(t, server.Limits{})
	g := w.register("gs-1")
	token := g.start("p", wait).Header.Token
	save := g.saving("p", token, 0, noise(fsm.MaxData))
	node.Before = func(c *fsm.Command) error {
		if c.GetPutPart().GetPart() == 5 {
			return cluster.ErrBusy
		}
		return nil
	}
	_, err := g.profiles.Save(soon(t), save)
	wantReason(t, err, profilev1.Reason_REASON_BUSY)
	node.Before = nil
	if done, err := g.profiles.Save(soon(t), save); err != nil || done.Header.Revision != 1 || done.Header.Repeated {
		t.Errorf("the next copy is %v, %v", done, err)
	}
	if got := w.get("p"); !bytes.Equal(got.Profile.GetData(), noise(fsm.MaxData)) {
		t.Error("it comes back changed")
	}
}

// What the store's policy refuses puts nothing into the log but the refusal.
func TestPolicySparesParts(t *testing.T) {
	w, node := fake(t, server.Limits{})
	g := w.register("gs-1")
	token := g.start("p", wait).Header.Token
	large := g.saving("p", token, 0, noise(fsm.MaxData))
	if _, err := g.profiles.Save(soon(t), large); err != nil {
		t.Fatal(err)
	}
	if _, err := w.cluster.SetPolicy(soon(t), &profilev1.SetPolicyRequest{Request: g.next(), Store: "players", Name: fsm.PolicyMaxData, Value: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	before := node.Count("PutPart")
	_, err := g.profiles.Save(soon(t), g.saving("p", token, 1, noise(fsm.MaxData)))
	wantReason(t, err, profilev1.Reason_REASON_TOO_LARGE)
	if again, err := g.profiles.Save(soon(t), large); err != nil || !again.Header.Repeated {
		t.Errorf("the retry of one that was done before: %v, %v", again, err)
	}
	if node.Count("PutPart") != before {
		t.Errorf("%d parts went up", node.Count("PutPart")-before)
	}
}

// Too much data at once waits in line, and beyond that is refused without having happened.
func TestDataBudget(t *testing.T) {
	w, node := fake(t, server.Limits{SmallBytes: 1000})
	g := w.register("gs-1")
	saving := func(key string) *profilev1.SaveRequest {
		return g.saving(key, g.start(key, wait).Header.Token, 0, noise(700))
	}
	a, b, c := saving("a"), saving("b"), saving("c")
	hold, held := make(chan struct{}), make(chan struct{}, 1)
	node.Before = func(command *fsm.Command) error {
		if command.GetSave().GetKey() == "a" {
			held <- struct{}{}
			<-hold
		}
		return nil
	}
	done := make(chan error, 2)
	send := func(q *profilev1.SaveRequest) {
		go func() {
			_, err := g.profiles.Save(soon(t), q)
			for err != nil && refusal(t, err).Reason == profilev1.Reason_REASON_BUSY { // c may have been in line first
				_, err = g.profiles.Save(soon(t), q)
			}
			done <- err
		}()
	}
	send(a)
	<-held
	send(b)
	for tries := 0; ; tries++ { // b takes its place in line at its own pace
		ctx, cancel := context.WithTimeout(context.Background(), patience/100)
		_, err := g.profiles.Save(ctx, c)
		cancel()
		if err == nil || tries == 50 {
			t.Fatalf("three times 700 bytes went through 1000: %v", err)
		}
		if status.Code(err) != codes.DeadlineExceeded { // that was c in line
			wantReason(t, err, profilev1.Reason_REASON_BUSY)
			break
		}
	}
	close(hold)
	for range 2 {
		if err := <-done; err != nil {
			t.Errorf("a save in line: %v", err)
		}
	}
	if _, err := g.profiles.Save(soon(t), c); err != nil {
		t.Errorf("the refused one, again: %v", err)
	}
}

// Small saves pass by a line of large ones.
func TestSmallSavesDoNotWaitInLineWithLargeOnes(t *testing.T) {
	w, node := fake(t, server.Limits{LargeBytes: fsm.MaxData})
	g := w.register("gs-1")
	saving := func(key string, size int) *profilev1.SaveRequest {
		return g.saving(key, g.start(key, wait).Header.Token, 0, noise(size))
	}
	a, b, small := saving("a", fsm.MaxData), saving("b", fsm.MaxData), saving("c", 64<<10)
	hold, held := make(chan struct{}), make(chan struct{}, 8)
	node.Before = func(command *fsm.Command) error {
		if command.GetPutPart() != nil {
			held <- struct{}{}
			<-hold
		}
		return nil
	}
	done := make(chan error, 2)
	for _, q := range []*profilev1.SaveRequest{a, b} {
		go func() {
			_, err := g.profiles.Save(soon(t), q)
			done <- err
		}()
	}
	<-held
	if _, err := g.profiles.Save(soon(t), small); err != nil {
		t.Errorf("a small save beside large ones that hold all their bytes: %v", err)
	}
	close(hold)
	go func() {
		for range held {
		}
	}()
	for range 2 {
		if err := <-done; err != nil {
			t.Errorf("a large save: %v", err)
		}
	}
}

// A save that ends a session puts its cause into the log: an owner that gave up is in the audit.
func TestALastSavePutsItsCauseIntoTheLog(t *testing.T) {
	w, node := fake(t, server.Limits{})
	a, b := w.register("a"), w.register("b")
	token := a.start("p", wait).Header.Token
	b.start("p", wait)
	last := a.saving("p", token, 0, []byte("kept"))
	last.End, last.Cause = true, profilev1.Cause_CAUSE_OUT_OF_REACH
	var logged uint32
	node.Before = func(command *fsm.Command) error {
		logged = command.GetSave().GetCause()
		return nil
	}
	if _, err := a.profiles.Save(soon(t), last); err != nil {
		t.Fatal(err)
	}
	if logged != uint32(lock.OutOfReach) {
		t.Errorf("the log has cause %d, want %d", logged, lock.OutOfReach)
	}
	audits, err := w.cluster.Audit(soon(t), &profilev1.AuditRequest{Store: "players"})
	if err != nil || len(audits.Records) != 1 {
		t.Fatalf("audit: %v, %v", audits, err)
	}
	if r := audits.Records[0]; r.Action != "kept-save" || r.Revision != 1 || r.Cause != profilev1.Cause_CAUSE_OUT_OF_REACH || r.From.GetName() != "a" {
		t.Errorf("the audit is %v", r)
	}
}
