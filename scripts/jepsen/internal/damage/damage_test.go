package damage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/bits"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/profilenode/profilenode/internal/nodeproc"
)

func writeTestFile(t *testing.T, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// makeChunks is content of which every chunk differs from every other.
func makeChunks(count int) (content []byte) {
	for i := range count {
		content = append(content, bytes.Repeat([]byte{byte(i + 1)}, chunk)...)
	}
	return content
}

func TestHarm(t *testing.T) {
	for seed := range uint64(50) {
		right := makeChunks(5)
		path := writeTestFile(t, right)
		at, err := FlipBit(path, seed)
		got := mustRead(t, path)
		if flipped := bits.OnesCount8(got[at] ^ right[at]); err != nil || flipped != 1 {
			t.Fatalf("%d bits flipped, %v", flipped, err)
		}
		if got[at] = right[at]; !bytes.Equal(got, right) {
			t.Fatal("other bytes changed too")
		}

		path = writeTestFile(t, right)
		at, err = CopyChunk(path, path, seed)
		got = mustRead(t, path)
		if err != nil || len(got) != len(right) || got[at] == right[at] {
			t.Fatalf("a misdirected chunk: %v", err)
		}
		if copy(got[at:at+chunk], right[at:]); !bytes.Equal(got, right) {
			t.Fatal("other bytes changed too")
		}

		older := append(bytes.Repeat([]byte{77}, 2*chunk), right[2*chunk:3*chunk]...)
		path = writeTestFile(t, right)
		begin, end, err := RollBackPart(path, writeTestFile(t, older), seed)
		got = mustRead(t, path)
		want := slices.Concat(right[:begin], older[begin:end], right[end:])
		if err != nil || begin >= 2*chunk || end <= begin || end > int64(len(older)) || !bytes.Equal(got, want) {
			t.Fatalf("rolled back from %d to %d: %v", begin, end, err)
		}

		cut, err := TruncateTail(path, 100, seed)
		if left := len(mustRead(t, path)); err != nil || cut < 1 || cut > 100 || left != len(right)-int(cut) {
			t.Fatalf("cut %d of %d, %d are left, %v", cut, len(right), left, err)
		}
	}
}

func TestHarmIsSeeded(t *testing.T) {
	places := map[int64]bool{}
	for range 2 {
		for seed := range uint64(10) {
			at, err := FlipBit(writeTestFile(t, makeChunks(100)), seed)
			if err != nil {
				t.Fatal(err)
			}
			places[at] = true
		}
	}
	if len(places) != 10 {
		t.Errorf("10 seeds, twice, flipped bits at %d places", len(places))
	}
}

func TestFilesThatCannotBeHarmed(t *testing.T) {
	empty, one := writeTestFile(t, nil), writeTestFile(t, makeChunks(1))
	for name, harm := range map[string]func() error{
		"flip":       func() error { _, err := FlipBit(empty, 1); return err },
		"copy":       func() error { _, err := CopyChunk(one, empty, 1); return err },
		"one chunk":  func() error { _, err := CopyChunk(one, one, 1); return err },
		"cut":        func() error { _, err := TruncateTail(empty, 10, 1); return err },
		"no changes": func() error { _, _, err := RollBackPart(one, one, 1); return err },
	} {
		if err := harm(); !errors.Is(err, ErrTooSmall) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A node's own folder has files of every kind, and none is of an unknown one.
func TestFindInANodesFolder(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a process")
	}
	program, err := nodeproc.Build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c, err := nodeproc.NewCluster(program, t.TempDir(), 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Kill() })
	n := c.Nodes[0]
	n.Members = nil // a cluster of one
	n.Flags = []string{"--snapshot-bytes", "1MiB", "--trailing-bytes", "256KiB"}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := errors.Join(c.Start(), c.WaitReady(ctx)); err != nil {
		t.Fatal(err)
	}
	value := fmt.Sprintf(`{"value":%q}`, strings.Repeat("x", 256<<10))
	for found := map[Kind][]string{}; len(found[Snapshot]) == 0; { // a snapshot is made after some bytes
		if ctx.Err() != nil {
			t.Fatalf("no snapshot: %v", found)
		}
		set := exec.Command(program, "set", "players", "p", "-", "--any-revision", "--addr", n.Addresses.Clients)
		set.Stdin = strings.NewReader(value)
		if out, err := set.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if found, err = Find(n.Folder); err != nil && !errors.Is(err, os.ErrNotExist) { // it runs, and removes files
			t.Fatal(err)
		}
	}
	if err := c.Kill(); err != nil {
		t.Fatal(err)
	}
	found, err := Find(n.Folder)
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, kind := range Kinds() {
		if len(found[kind]) == 0 {
			t.Errorf("no file of kind %s", kind)
		}
		for _, file := range found[kind] {
			known[file] = true
		}
	}
	checkRest(t, n.Folder, known)
	harmFound(t, found)
}

// checkRest fails for a file of no kind that a node cannot do without.
func checkRest(t *testing.T, folder string, known map[string]bool) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, d os.DirEntry, err error) error {
		base := filepath.Base(path)
		dispensable := base == "LOCK" || base == "probe" || strings.HasPrefix(base, "OPTIONS-") || strings.HasPrefix(base, "marker.")
		if err != nil || d.IsDir() || known[path] || dispensable {
			return err
		}
		if info, err := d.Info(); err != nil || info.Size() > 0 {
			t.Errorf("%s is of no kind, %v", path, err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// harmFound harms one file of each kind in every way.
func harmFound(t *testing.T, found map[Kind][]string) {
	t.Helper()
	for kind, files := range found {
		file := files[0]
		before := mustRead(t, file)
		older := writeTestFile(t, append([]byte("older"), before[min(5, len(before)):]...))
		_, flip := FlipBit(file, 1)
		_, misdirected := CopyChunk(found[Votes][0], file, 2)
		_, _, rolledBack := RollBackPart(file, older, 3)
		_, cut := TruncateTail(file, 64, 4)
		if err := errors.Join(flip, misdirected, rolledBack, cut); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		if bytes.Equal(mustRead(t, file), before) {
			t.Errorf("%s: %s is as it was", kind, file)
		}
	}
}
