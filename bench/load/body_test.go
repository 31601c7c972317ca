package load

import (
	"bytes"
	"compress/flate"
	"encoding/json"
	"testing"
)

func TestBodyIsWholeJSON(t *testing.T) {
	for size := 256; size < 6000; size += 97 {
		data := MakeBody(7, uint64(size), size)
		if len(data) != size {
			t.Fatalf("asked for %d bytes, got %d", size, len(data))
		}
		if !json.Valid(data) {
			t.Fatalf("%d bytes are not JSON: %s", size, data)
		}
		if !bytes.Equal(data, MakeBody(7, uint64(size), size)) {
			t.Fatalf("the same profile of %d bytes came out in two ways", size)
		}
	}
	if bytes.Equal(MakeBody(1, 0, 2048), MakeBody(2, 0, 2048)) || bytes.Equal(MakeBody(1, 0, 2048), MakeBody(1, 1, 2048)) {
		t.Error("two profiles, or two versions of one, are the same")
	}
}

// Its data is neither noise, which no game saves, nor one text repeated, which takes no space.
func TestBodyPacksLikeAProfile(t *testing.T) {
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, flate.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	const profiles, size = 500, 2048
	for number := range uint64(profiles) {
		if _, err := w.Write(MakeBody(number, 0, size)); err != nil {
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
