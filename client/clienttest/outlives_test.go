package clienttest_test

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/client/clienttest"
	"github.com/profilenode/profilenode/internal/clienthooks"
)

// launched starts a cluster that the test ends by hand.
func launched(t *testing.T) *clienttest.Cluster {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	c, err := clienttest.New(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// saved starts a session on ann and saves this number of coins.
func saved(t *testing.T, store *client.Store[player], coins int) *client.Profile[player] {
	t.Helper()
	p, err := store.StartSession(t.Context(), "ann")
	if err == nil {
		err = p.Update(func(d *player) { d.Coins = coins })
	}
	if err == nil {
		err = p.Save(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// inspection is the state of a cluster: the digest of its tables, its game server, and its grants.
type inspection struct {
	digest      uint64
	incarnation uint64 // of the only game server
	token       uint64 // of the only grant
}

func inspect(t *testing.T, c *clienttest.Cluster) (now inspection) {
	t.Helper()
	config := c.Config("inspector")
	conn, err := grpc.NewClient("passthrough:///"+config.Seeds[0], grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(clienthooks.Of(&config).Dial))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	calls := profilev1.NewClusterClient(conn)
	status, err := calls.Status(t.Context(), &profilev1.StatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	servers, err := calls.Servers(t.Context(), &profilev1.ServersRequest{Binding: status.Binding})
	if err != nil {
		t.Fatal(err)
	}
	sessions, err := calls.Sessions(t.Context(), &profilev1.SessionsRequest{Binding: status.Binding, Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	if len(servers.Servers) != 1 || len(sessions.Sessions) != 1 {
		t.Fatalf("the cluster has %d game servers and %d sessions, want one of each", len(servers.Servers), len(sessions.Sessions))
	}
	return inspection{status.Digest, servers.Servers[0].Incarnation, sessions.Sessions[0].Token}
}

// All nodes end and their folders are emptied, so that a new cluster answers at the same addresses. There the numbers of a
// game server that was left over name another game server and its session. Whatever the old one sends changes nothing.
func TestAGameServerThatOutlivesItsClusterChangesNothingInTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at atomic.Pointer[clienttest.Cluster] // the cluster that answers at the address
		first := launched(t)
		at.Store(first)
		config := first.Config("game")
		config.DoubtLimit = time.Hour // it believes in its sessions for as long as the test lasts
		clienthooks.Of(&config).Dial = func(ctx context.Context, address string) (net.Conn, error) {
			now := at.Load().Config("game")
			return clienthooks.Of(&now).Dial(ctx, address)
		}
		game, err := client.Open(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		store := clienttest.Store(t, game, "players", player{})
		old := saved(t, store, 7)
		before := inspect(t, first)
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		if err := old.Update(func(d *player) { d.Coins = 8 }); err != nil { // it autosaves from now on
			t.Fatal(err)
		}

		second := launched(t)
		defer func() {
			if err := second.Close(); err != nil {
				t.Error(err)
			}
		}()
		owner := second.Client(t, "next")
		current := saved(t, clienttest.Store(t, owner, "players", player{}), 100)
		after := inspect(t, second)
		if after.incarnation != before.incarnation || after.token != before.token {
			t.Fatalf("incarnation %d and token %d are not those of the first cluster, %d and %d: nothing is shown",
				after.incarnation, after.token, before.incarnation, before.token)
		}

		brief := func() context.Context {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			t.Cleanup(cancel)
			return ctx
		}
		// All of these wait for a node, and go out as soon as there is one: the client may end soon after that.
		var sending sync.WaitGroup
		for what, send := range map[string]func() error{
			"save": func() error { return old.Save(brief()) },
			"set": func() error {
				_, err := store.Set(brief(), "ann", player{Coins: 9}, client.AnyRevision(), client.Force())
				return err
			},
			"message": func() error { _, err := store.Send(brief(), "ann", "from the old one"); return err },
			"release": func() error { return old.EndSession(brief()) },
		} {
			sending.Go(func() {
				if err := send(); err == nil {
					t.Errorf("the old game server's %s is acknowledged", what)
				}
			})
		}
		synctest.Wait()
		at.Store(second)
		sending.Wait()
		time.Sleep(20 * time.Second) // renewals and autosaves
		if old.IsActive() {
			t.Error("the new cluster renews the old game server")
		}
		_ = game.Shutdown(brief()) // a goodbye, if it has not ended for good before

		if now := inspect(t, second); now != after {
			t.Errorf("the new cluster is %+v, and was %+v before the old game server found it", now, after)
		}
		if !current.IsActive() {
			t.Errorf("the new owner's session is %v: %v", current.State(), current.Err())
		}
		if err := current.Update(func(d *player) { d.Coins++ }); err != nil {
			t.Error(err)
		}
		if err := current.Save(brief()); err != nil || current.Revision() != 2 {
			t.Errorf("the new owner's next save is revision %d, %v", current.Revision(), err)
		}
		if err := owner.Shutdown(brief()); err != nil {
			t.Error(err)
		}
	})
}
