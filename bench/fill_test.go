package main

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/json"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/profilenode/profilenode/client/clienttest"
)

func TestBodyIsWholeJSON(t *testing.T) {
	for size := 256; size < 6000; size += 97 {
		data := makeBody(7, uint64(size), size)
		if len(data) != size {
			t.Fatalf("asked for %d bytes, got %d", size, len(data))
		}
		if !json.Valid(data) {
			t.Fatalf("%d bytes are not JSON: %s", size, data)
		}
		if !bytes.Equal(data, makeBody(7, uint64(size), size)) {
			t.Fatalf("the same profile of %d bytes came out in two ways", size)
		}
	}
	if bytes.Equal(makeBody(1, 0, 2048), makeBody(2, 0, 2048)) || bytes.Equal(makeBody(1, 0, 2048), makeBody(1, 1, 2048)) {
		t.Error("two profiles, or two versions of one, are the same")
	}
}

// Neither noise, which no game saves, nor one text again and again, which takes no room.
func TestBodyPacksLikeAProfile(t *testing.T) {
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, flate.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	const profiles, size = 500, 2048
	for number := range uint64(profiles) {
		if _, err := w.Write(makeBody(number, 0, size)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if share := float64(packed.Len()) / (profiles * size); share < 0.25 || share > 0.6 {
		t.Errorf("profiles pack to %.2f of their size", share)
	}
}

func TestFill(t *testing.T) {
	c := clienttest.Start(t)
	config := c.Config("filler")
	config.Name = "" // several open at once
	ctx := t.Context()
	quiet := func() *progressLog { return &progressLog{to: io.Discard} }
	f := fillOptions{client: config, store: "full", profiles: 150, bytes: 300, parallel: 70}

	done, err := fillProfiles(ctx, f, quiet())
	if err != nil || done.Written != 150 || done.Next != 150 || done.There != 0 {
		t.Fatalf("fill wrote %d, is at %d, found %d there: %v", done.Written, done.Next, done.There, err)
	}
	store := clienttest.Store(t, c.Client(t, "reader"), "full", json.RawMessage("{}"))
	for _, number := range []uint64{0, 77, 149} {
		p, err := store.Get(ctx, profileKey(number))
		if err != nil || !bytes.Equal(p.Data, makeBody(number, 0, 300)) {
			t.Errorf("%s holds %s: %v", profileKey(number), p.Data, err)
		}
	}
	if p, err := store.Get(ctx, profileKey(150)); err != nil || p.Exists {
		t.Errorf("a profile behind the last is there: %v", err)
	}

	// again, and further: what is there stays as it is
	f.profiles = 200
	done, err = fillProfiles(ctx, f, quiet())
	if err != nil || done.Written != 50 || done.There != 150 || done.Next != 200 {
		t.Errorf("the second fill wrote %d, found %d there, is at %d: %v", done.Written, done.There, done.Next, err)
	}
	f.profiles, f.from = 210, 200
	done, err = fillProfiles(ctx, f, quiet())
	if err != nil || done.Written != 10 || done.There != 0 || done.Next != 210 {
		t.Errorf("going on from 200 wrote %d, found %d there, is at %d: %v", done.Written, done.There, done.Next, err)
	}
}

// A fill that is stopped says from where to go on, and leaves no hole below.
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
	done, err := fillProfiles(ctx, fillOptions{client: config, store: "full", profiles: 10_000_000, bytes: 256, parallel: 8}, &progressLog{to: stop, every: time.Millisecond})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("a fill that was stopped ended with %v", err)
	}
	if done.Next > done.Written+8 { // eight may have been set without an answer
		t.Errorf("it set %d, 8 at once, and wants to go on from %d", done.Written, done.Next)
	}
	store := clienttest.Store(t, c.Client(t, "reader"), "full", json.RawMessage("{}"))
	for number := range done.Next {
		if p, err := store.Get(t.Context(), profileKey(number)); err != nil || !p.Exists {
			t.Fatalf("profile %d of %d is not there: %v", number, done.Next, err)
		}
	}
}

type writer func([]byte)

func (w writer) Write(b []byte) (int, error) {
	w(b)
	return len(b), nil
}
