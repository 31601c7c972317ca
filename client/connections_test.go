package client_test

import (
	"context"
	"maps"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/client/clienttest"
	"github.com/profilenode/profilenode/internal/clienthooks"
)

// openConns are the open connections of a client, by address.
type openConns struct {
	mu   sync.Mutex
	open map[string]int
}

type openConn struct {
	net.Conn
	once  sync.Once
	close func()
}

func (c *openConn) Close() error {
	c.once.Do(c.close)
	return c.Conn.Close()
}

func (o *openConns) count(config *client.Config) {
	dial := clienthooks.Of(config).Dial
	clienthooks.Of(config).Dial = func(ctx context.Context, address string) (net.Conn, error) {
		conn, err := dial(ctx, address)
		if err != nil {
			return nil, err
		}
		note := func(n int) {
			o.mu.Lock()
			defer o.mu.Unlock()
			if o.open[address] += n; o.open[address] == 0 {
				delete(o.open, address)
			}
		}
		note(1)
		return &openConn{Conn: conn, close: func() { note(-1) }}, nil
	}
}

// addresses are those with open connections.
func (o *openConns) addresses() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Sorted(maps.Keys(o.open))
}

// A client is connected to every node. When a renewal says that there are many game servers it keeps connections to the
// leader and one more, also behind a change of the leader, and reads from these. It takes up the others when that is over.
func TestWithManyGameServersAClientKeepsFewConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town := newTown(t, "n1:7400", "n2:7400", "n3:7400", "n4:7400", "n5:7400", "n6:7400", "n7:7400", "n8:7400", "n9:7400")
		config, conns := town.config("a"), &openConns{open: map[string]int{}}
		conns.count(&config)
		store := clienttest.Store(t, town.open(t, config), "players", player{})
		many := func(is bool) {
			town.Set(func() { town.Renewed = func(answer *profilev1.Renewed) { answer.FewConnections = is } })
			time.Sleep(5 * time.Second)
			synctest.Wait()
		}
		many(false)
		if all := conns.addresses(); len(all) != 9 {
			t.Fatalf("with few game servers it is connected to %v, want all 9", all)
		}
		many(true)
		few := conns.addresses()
		if len(few) != 2 || !slices.Contains(few, "n1:7400") {
			t.Fatalf("with many game servers it is connected to %v, want the leader n1:7400 and one more", few)
		}
		for range 20 {
			if _, err := store.Get(t.Context(), "ann"); err != nil {
				t.Fatal(err)
			}
		}
		if now := conns.addresses(); !slices.Equal(now, few) {
			t.Errorf("reads went to others: %v, before %v", now, few)
		}
		next := "n9:7400"
		if slices.Contains(few, next) {
			next = "n8:7400"
		}
		town.Lead(next)
		many(true)
		if few = conns.addresses(); len(few) != 2 || !slices.Contains(few, next) {
			t.Errorf("behind a change of the leader it is connected to %v, want %s and one more", few, next)
		}
		many(false)
		if all := conns.addresses(); len(all) != 9 {
			t.Errorf("with few game servers again it is connected to %v, want all 9", all)
		}
	})
}
