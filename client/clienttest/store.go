package clienttest

import (
	"testing"

	"github.com/profilenode/profilenode/client"
)

// Store is client.NewStore for a test: it fails the test instead of returning an error.
func Store[T any](t testing.TB, c *client.Client, name string, template T, options ...client.StoreOption) *client.Store[T] {
	t.Helper()
	store, err := client.NewStore(c, name, template, options...)
	if err != nil {
		t.Fatal(err)
	}
	return store
}
