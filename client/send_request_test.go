package client_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/client/clienttest"
)

type player struct {
	Coins int
	Items []string
}

var errLost = status.Error(codes.Unavailable, "the answer was lost")

// losing drops the answers of the first n copies of a method, after they were carried out.
func losing(method string, n int) grpc.DialOption {
	var mu sync.Mutex
	return grpc.WithChainUnaryInterceptor(func(ctx context.Context, full string, q, a any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
		err := invoke(ctx, full, q, a, cc, options...)
		mu.Lock()
		defer mu.Unlock()
		if full == method && n > 0 {
			n--
			return errLost
		}
		return err
	})
}

func TestLostAnswersAreAskedAgainUnderOneNumber(t *testing.T) {
	for _, method := range []string{
		profilev1.Profiles_StartSession_FullMethodName, profilev1.Profiles_Save_FullMethodName, profilev1.Profiles_Send_FullMethodName,
		profilev1.Profiles_Set_FullMethodName, profilev1.Profiles_Release_FullMethodName, profilev1.Profiles_EndServer_FullMethodName,
		profilev1.Profiles_Register_FullMethodName,
	} {
		t.Run(method[len("/profilenode.v1.Profiles/"):], func(t *testing.T) {
			cluster := clienttest.Start(t)
			ctx := t.Context()
			c := cluster.Open(t, cluster.Config("a").WithDialOptions(losing(method, 2)))
			store := clienttest.Store(t, c, "players", player{})
			p, err := store.StartSession(ctx, "ann")
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Update(func(d *player) { d.Coins = 7 }); err != nil {
				t.Fatal(err)
			}
			if err := p.Save(ctx); err != nil {
				t.Fatal(err)
			}
			if got := p.Revision(); got != 1 {
				t.Errorf("revision after one save: got %d, want 1", got)
			}
			if id, err := store.Send(ctx, "ann", "hello"); err != nil || id != 1 {
				t.Errorf("send: got id %d, %v, want 1", id, err)
			}
			if revision, err := store.Set(ctx, "bob", player{}, client.AtRevision(0)); err != nil || revision != 1 {
				t.Errorf("set: got revision %d, %v, want 1", revision, err)
			}
			if err := p.EndSession(ctx); err != nil {
				t.Errorf("end: %v", err)
			}
			if got, err := store.Get(ctx, "ann"); err != nil || got.Revision != 1 || got.Messages != 1 || got.Owner != nil {
				t.Errorf("get: got %+v, %v, want revision 1, one message, no owner", got, err)
			}
			if err := c.Shutdown(ctx); err != nil {
				t.Errorf("close: %v", err)
			}
		})
	}
}

// A StartSession that was given up while a copy was unanswered must not leave a grant behind: the client lives on and would
// renew it without end.
func TestGivenUpStartIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := clienttest.Start(t)
		c := cluster.Open(t, cluster.Config("a").WithDialOptions(losing(profilev1.Profiles_StartSession_FullMethodName, 1000)))
		store := clienttest.Store(t, c, "players", player{})
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if _, err := store.StartSession(ctx, "ann"); !errors.Is(err, client.ErrUnknown) || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("start: got %v, want ErrUnknown and the context's error", err)
		}
		time.Sleep(time.Second)
		got, err := store.Get(t.Context(), "ann")
		if err != nil || got.Owner != nil {
			t.Errorf("afterwards: got owner %v, %v, want no owner", got.Owner, err)
		}
	})
}

// A copy that is still on its way when its caller has given up does nothing any more: its number is marked as never to be
// executed by then.
func TestALateCopyOfARequestThatWasGivenUpIsNeverExecuted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town := newTown(t, "n1:7400")
		store := clienttest.Store(t, town.open(t, town.config("a")), "players", player{})
		const under = 10 * time.Second // way of the request
		town.Set(func() {
			town.Before = func(_, method string, _ proto.Message) error {
				if method == "StartSession" {
					time.Sleep(under)
				}
				return nil
			}
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := store.StartSession(ctx, "ann"); !errors.Is(err, client.ErrUnknown) {
			t.Fatalf("start: got %v, want ErrUnknown", err)
		}
		time.Sleep(2 * under)
		if n := town.Count("StartSession"); n != 1 {
			t.Fatalf("%d copies arrived, want the late one", n)
		}
		if town.ann().Loads > 0 {
			t.Error("a session was granted that no caller wants any more")
		}
	})
}

// A place in the queue that was given up is left.
func TestGivenUpWaitIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := clienttest.Start(t)
		a := clienttest.Store(t, cluster.Client(t, "a"), "players", player{})
		b := clienttest.Store(t, cluster.Client(t, "b"), "players", player{})
		if _, err := a.StartSession(t.Context(), "ann"); err != nil {
			t.Fatal(err)
		}
		cluster.Disconnect("a") // so that it cannot let go
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := b.StartSession(ctx, "ann"); !errors.Is(err, client.ErrUnavailable) {
			t.Errorf("start: got %v, want ErrUnavailable", err)
		}
		time.Sleep(time.Second)
		got, err := b.Get(t.Context(), "ann")
		if err != nil || got.Waiters != 0 {
			t.Errorf("waiters afterwards: got %+v, %v, want none", got, err)
		}
	})
}

func TestLeaderChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town := newTown(t, "n1:7400", "n2:7400", "n3:7400")
		c := town.open(t, town.config("a"))
		store := clienttest.Store(t, c, "players", player{})
		p, err := store.StartSession(t.Context(), "ann")
		if err != nil {
			t.Fatal(err)
		}
		doubts := 0
		go func() {
			for range 100 {
				if !p.IsActive() {
					doubts++
				}
				time.Sleep(20 * time.Millisecond)
			}
		}()
		town.Lead("n3:7400")
		began := time.Now()
		if err := p.Update(func(d *player) { d.Coins = 1 }); err != nil {
			t.Fatal(err)
		}
		if err := p.Save(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 200*time.Millisecond {
			t.Errorf("save across a leader change: took %v", took)
		}
		// No node leads for a while: two nodes refuse without a name, and a save waits.
		town.Lead("")
		go func() {
			time.Sleep(time.Second)
			town.Lead("n2:7400")
		}()
		if err := p.Update(func(d *player) { d.Coins = 2 }); err != nil {
			t.Fatal(err)
		}
		if err := p.Save(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if doubts > 0 {
			t.Errorf("a second without a leader: in doubt at %d looks, want none", doubts)
		}
		if got := town.Count("Save"); got != 2 {
			t.Errorf("saves that reached the rules: got %d, want 2", got)
		}
	})
}

// A refusal of the second copy says nothing of the first.
func TestRefusedCopyIsNotTheFateOfTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town := newTown(t, "n1:7400", "n2:7400")
		c := town.open(t, town.config("a"))
		store := clienttest.Store(t, c, "players", player{})
		lost := false
		town.Set(func() {
			town.After = func(_, method string, _ proto.Message) error {
				if method == "Send" && !lost {
					lost = true
					town.Lead("") // from here on every copy is refused
					return errLost
				}
				return nil
			}
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := store.Send(ctx, "ann", 1); !errors.Is(err, client.ErrUnknown) {
			t.Errorf("send: got %v, want ErrUnknown: its first copy was carried out", err)
		}
		// The next one to the same key waits until the fate of the first is known.
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := store.Send(ctx, "ann", 2); !errors.Is(err, client.ErrUnavailable) {
			t.Errorf("second send: got %v, want ErrUnavailable", err)
		}
		town.Lead("n2:7400")
		if id, err := store.Send(t.Context(), "ann", 3); err != nil || id != 2 {
			t.Errorf("third send: got id %d, %v, want 2", id, err)
		}
		if got := town.Count("Settle"); got != 1 {
			t.Errorf("settled: got %d times, want once", got)
		}
	})
}

// Nor does a node's own refusal, made without asking the log.
func TestRefusalBesideTheLogIsNotTheFateOfTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town := newTown(t, "n1:7400")
		store := clienttest.Store(t, town.open(t, town.config("a")), "players", player{})
		copies := 0
		town.Set(func() {
			town.Before = func(_, method string, _ proto.Message) error {
				if method == "Send" {
					if copies++; copies > 1 {
						return refuse(&profilev1.Refusal{Reason: profilev1.Reason_REASON_TOO_LARGE})
					}
				}
				return nil
			}
			town.After = func(_, method string, _ proto.Message) error {
				if method == "Send" && copies == 1 {
					return errLost
				}
				return nil
			}
		})
		if _, err := store.Send(t.Context(), "ann", 1); !errors.Is(err, client.ErrUnknown) {
			t.Errorf("send with a first copy that was carried out: got %v, want ErrUnknown", err)
		}
		if _, err := store.Send(t.Context(), "ann", 2); !errors.Is(err, client.ErrInvalid) {
			t.Errorf("send of which every copy was refused: got %v, want ErrInvalid", err)
		}
	})
}

func TestUnreachableClusterIsUnavailable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		town := newTown(t, "n1:7400")
		config := town.config("a")
		config.Seeds = []string{"n9:7400"}
		_, err := client.Open(ctx, config)
		if !errors.Is(err, client.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("open: got %v, want ErrUnavailable and the context's error", err)
		}
	})
}
