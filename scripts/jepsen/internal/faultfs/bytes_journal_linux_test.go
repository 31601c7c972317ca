package faultfs

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

func newTestJournal(t *testing.T) *byteJournal {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return &byteJournal{file: f}
}

func (j *byteJournal) mustWrite(t *testing.T, text string, at int64) {
	t.Helper()
	if err := j.noteWrite(at, at+int64(len(text))); err != nil {
		t.Fatal(err)
	}
	if _, err := j.file.WriteAt([]byte(text), at); err != nil {
		t.Fatal(err)
	}
}

func (j *byteJournal) mustResize(t *testing.T, size int64) {
	t.Helper()
	if err := j.noteResize(size); err != nil {
		t.Fatal(err)
	}
	if err := j.file.Truncate(size); err != nil {
		t.Fatal(err)
	}
}

func (j *byteJournal) mustLose(t *testing.T, keep func() bool) (text string) {
	t.Helper()
	if err := j.losePower(4, keep, &Effects{}); err != nil {
		t.Fatal(err)
	}
	return j.content(t)
}

func (j *byteJournal) content(t *testing.T) string {
	t.Helper()
	all, err := os.ReadFile(j.file.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(all)
}

func never() bool { return false }

// Whatever is done, what remains without luck is what was synced last.
func TestAllUnsyncedBytesAreLost(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		j := newTestJournal(t)
		want := ""
		for range 20 {
			switch random.IntN(4) {
			case 0:
				j.sync()
				want = j.content(t)
			case 1:
				j.mustResize(t, random.Int64N(40))
			default:
				j.mustWrite(t, string(bytes.Repeat([]byte{byte('a' + random.IntN(26))}, 1+random.IntN(12))), random.Int64N(40))
			}
		}
		if got := j.mustLose(t, never); got != want {
			t.Fatalf("seed %d: %q is left, want %q", seed, got, want)
		}
	}
}

// With luck each byte is one that was there at some time since the last sync.
func TestSomeUnsyncedBytesAreLost(t *testing.T) {
	torn := 0
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 2))
		j := newTestJournal(t)
		j.mustWrite(t, "................", 0)
		j.sync()
		j.mustWrite(t, "aaaaaaaaaaaaaaaa", 0)
		j.mustWrite(t, "bbbbbbbb", 16)
		got := j.mustLose(t, func() bool { return random.IntN(2) == 0 })
		if len(got) < 16 || len(got)%4 != 0 || len(got) > 24 {
			t.Fatalf("seed %d: %q is left", seed, got)
		}
		for at := 0; at < len(got); at += 4 {
			switch piece := got[at : at+4]; {
			case at < 16 && (piece == "aaaa" || piece == "...."):
			case at >= 16 && (piece == "bbbb" || piece == "\x00\x00\x00\x00"):
			default:
				t.Fatalf("seed %d: %q is left", seed, got)
			}
		}
		if got[:4] != got[4:8] {
			torn++
		}
	}
	if torn == 0 {
		t.Error("no write was torn")
	}
}

// A sync that fails loses the bytes before it for good; those after it can be synced, and stay.
func TestBytesOfAFailedSyncAreLost(t *testing.T) {
	j := newTestJournal(t)
	j.mustWrite(t, "........", 0)
	j.sync()
	j.mustWrite(t, "aaaa", 0)
	j.abandon()
	j.mustWrite(t, "bb", 1)
	j.mustWrite(t, "cc", 6)
	j.sync()
	j.mustWrite(t, "dd", 4)
	if got := j.mustLose(t, never); got != ".bb...cc" {
		t.Errorf("%q is left", got)
	}
	if got := j.mustLose(t, never); got != ".bb...cc" {
		t.Errorf("%q is left the second time", got)
	}
}
