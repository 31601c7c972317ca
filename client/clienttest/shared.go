package clienttest

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	shared = sync.OnceValues(func() (*Cluster, error) {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		return New(ctx)
	})
	sharers atomic.Uint64
)

// Shared is a cluster that all tests of a package share, since a start takes longer than most tests. Each test sees only its
// own part: the names of its stores and game servers get a prefix, which shows in Store.Name, Ref and Client.Name. The
// cluster runs until the test's process ends. A test in the virtual time of testing/synctest needs a cluster of its own,
// from Start.
func Shared(t testing.TB) *Cluster {
	t.Helper()
	c, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return &Cluster{running: c.running, prefix: fmt.Sprintf("t%d.", sharers.Add(1))}
}
