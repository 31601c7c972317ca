package fill

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/profilenode/profilenode/bench/load"
	"github.com/profilenode/profilenode/client/clienttest"
)

func TestFill(t *testing.T) {
	c := clienttest.Start(t)
	config := c.Config("filler")
	config.Name = "" // several open at once
	ctx := t.Context()
	o := Options{Client: config, Store: "full", Profiles: 150, Bytes: 300, Parallel: 70, Progress: io.Discard, Every: time.Second}

	done, err := Fill(ctx, o)
	if err != nil || done.Written != 150 || done.Next != 150 || done.There != 0 {
		t.Fatalf("fill wrote %d, is at %d, found %d: %v", done.Written, done.Next, done.There, err)
	}
	store := clienttest.Store(t, c.Client(t, "reader"), "full", json.RawMessage("{}"))
	for _, number := range []uint64{0, 77, 149} {
		p, err := store.Get(ctx, load.Key(number))
		if err != nil || !bytes.Equal(p.Data, load.MakeBody(number, 0, 300)) {
			t.Errorf("%s holds %s: %v", load.Key(number), p.Data, err)
		}
	}
	if p, err := store.Get(ctx, load.Key(150)); err != nil || p.Exists {
		t.Errorf("a profile behind the last exists: %v", err)
	}

	// Again, and further: profiles that exist stay as they are.
	o.Profiles = 200
	done, err = Fill(ctx, o)
	if err != nil || done.Written != 50 || done.There != 150 || done.Next != 200 {
		t.Errorf("the second fill wrote %d, found %d, is at %d: %v", done.Written, done.There, done.Next, err)
	}
	o.Profiles, o.From = 210, 200
	done, err = Fill(ctx, o)
	if err != nil || done.Written != 10 || done.There != 0 || done.Next != 210 {
		t.Errorf("going on from 200 wrote %d, found %d, is at %d: %v", done.Written, done.There, done.Next, err)
	}
}

// A fill that is stopped says where to go on, and every profile below exists.
func TestFillStopped(t *testing.T) {
	c := clienttest.Start(t)
	config := c.Config("filler")
	config.Name = ""
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stop := writer(func(line []byte) {
		if !bytes.HasPrefix(line, []byte("0 of ")) { // somewhat on its way
			cancel()
		}
	})
	done, err := Fill(ctx, Options{Client: config, Store: "full", Profiles: 10_000_000, Bytes: 256, Parallel: 8, Progress: stop, Every: time.Millisecond})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("a fill that was stopped ended with %v", err)
	}
	if done.Next > done.Written+8 { // eight may have been set without an answer
		t.Errorf("it set %d, 8 at once, and wants to go on from %d", done.Written, done.Next)
	}
	store := clienttest.Store(t, c.Client(t, "reader"), "full", json.RawMessage("{}"))
	for number := range done.Next {
		if p, err := store.Get(t.Context(), load.Key(number)); err != nil || !p.Exists {
			t.Fatalf("profile %d of %d does not exist: %v", number, done.Next, err)
		}
	}
}

type writer func([]byte)

func (w writer) Write(b []byte) (int, error) {
	w(b)
	return len(b), nil
}
