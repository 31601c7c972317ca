package main

import (
	"context"
	"testing"
	"time"

	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/client/clienttest"
	"github.com/profilenode/profilenode/internal/nodeproc"
)

// store is where the games of these tests keep their profiles.
const store = "games"

// score is a profile of these games.
type score struct {
	N int `json:"n"`
}

func openClient(t *testing.T, seeds ...string) *client.Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	c, err := client.Open(ctx, client.Config{Seeds: seeds, Autosave: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = c.Shutdown(ctx) // the test may have taken its cluster away
	})
	return c
}

func startSession(t *testing.T, c *client.Client, key string) *client.Profile[score] {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	profile, err := clienttest.Store(t, c, store, score{}).StartSession(ctx, key)
	if err != nil {
		t.Fatal(err)
	}
	return profile
}

func within(t *testing.T, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(15 * time.Second):
		t.Fatalf("waited 15 s: %s", what)
	}
}

func freeAddresses(t *testing.T, n int) []string {
	t.Helper()
	addresses, err := nodeproc.FreeAddresses(n)
	if err != nil {
		t.Fatal(err)
	}
	return addresses
}
