package cluster_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/profilenode/profilenode/cluster"
)

// damages are the ways in which a file is damaged before the node is started on it.
var damages = []struct {
	name   string
	cuts   bool
	change func(content []byte) []byte
}{
	{"empty", true, func([]byte) []byte { return nil }},
	{"cut in half", true, func(c []byte) []byte { return c[:len(c)/2] }},
	{"flipped at the start", false, func(c []byte) []byte { return flip(c, 0) }},
	{"flipped in the middle", false, func(c []byte) []byte { return flip(c, len(c)/2) }},
	{"flipped at the end", false, func(c []byte) []byte { return flip(c, len(c)-16) }},
}

// flip inverts 16 bytes.
func flip(content []byte, at int) []byte {
	changed := append([]byte(nil), content...)
	for i := max(at, 0); i < min(at+16, len(changed)); i++ {
		changed[i] ^= 0xff
	}
	return changed
}

// withDamage copies a folder to dir, damages one of its files, and says whether that changed anything.
func withDamage(t *testing.T, dir, whole, file string, change func([]byte) []byte) (changed bool) {
	t.Helper()
	if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, file)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	damaged := change(content)
	if err := os.WriteFile(path, damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	return string(content) != string(damaged)
}

const damagedValues = 60

func damagedValue(i int) string { return strings.Repeat(fmt.Sprint("v", i, " "), 300) }

// A node that starts on a folder with one damaged file starts with all that was acknowledged, or it ends with one line that
// names the folder and says what to do; so does one that meets the damage later.
func TestADamagedFileIsNamedOrHarmless(t *testing.T) {
	config := func(dir string) cluster.Config {
		c := onDisk(dir)
		c.TrailingBytes, c.TrailingLogs = 0, 5
		c.LeaderLease, c.Heartbeat, c.Election = 50*time.Millisecond, 50*time.Millisecond, 50*time.Millisecond
		return c
	}
	copyFolder := func(from string) string {
		to := t.TempDir()
		if err := os.CopyFS(to, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
		return to
	}
	closed := t.TempDir()
	n := open(t, config(closed))
	s := register(t, n, "gs")
	for i := range damagedValues {
		mustSet(t, n, s, fmt.Sprint("k", i), damagedValue(i))
		if i == 20 || i == 40 {
			if err := n.Snapshot(); err != nil {
				t.Fatal(err)
			}
		}
	}
	closeNode(t, n)
	n = open(t, config(closed)) // Pebble writes the log's entries to a table when it opens the log
	for i := range 5 {
		mustSet(t, n, s, fmt.Sprint("newest", i), "in the newest file of the log")
	}
	killed := copyFolder(closed) // nothing is being written
	closeNode(t, n)
	restored := copyFolder(closed)
	if err := os.RemoveAll(filepath.Join(restored, "tables")); err != nil {
		t.Fatal(err)
	}

	// A node waits for a second only until Pebble has closed damaged tables, and leaves broken ones open, in which Pebble may
	// still be at work: nothing is deleted before the test's end, and then until nothing comes back.
	all, err := os.MkdirTemp("", "damaged")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for until := time.Now().Add(10 * time.Second); os.RemoveAll(all) != nil; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(until) {
				t.Errorf("%s cannot be deleted", all)
				return
			}
		}
	})
	for _, from := range []struct{ name, whole, files string }{
		{"closed", closed, "."},
		{"killed", killed, "log"},
		{"without tables", restored, "snapshots"},
	} {
		err := fs.WalkDir(os.DirFS(from.whole), from.files, func(file string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || entry.Name() == "LOCK" || strings.HasPrefix(entry.Name(), "marker.") {
				return err
			}
			for _, damage := range damages {
				// A cut that took synced entries off the end of the log cannot be told from a write that a loss of power
				// cut off, unless the tables on disk hold those entries.
				if from.name == "killed" && strings.HasPrefix(file, "log/") && strings.HasSuffix(file, ".log") && damage.cuts {
					continue
				}
				t.Run(from.name+" "+file+" "+damage.name, func(t *testing.T) {
					t.Parallel()
					dir := filepath.Join(all, strings.ReplaceAll(t.Name(), "/", "-"))
					if !withDamage(t, dir, from.whole, file, damage.change) {
						t.Skip("the damage changes nothing")
					}
					n, err := cluster.Open(t.Context(), config(dir))
					if err == nil {
						defer closeNode(t, n)
						err = useDamaged(t, n)
					}
					if err != nil {
						checkAdvice(t, dir, err)
					}
				})
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// useDamaged reads and writes until the node says that it has failed. It returns that error, or nil if all is well.
func useDamaged(t *testing.T, n *cluster.Node) error {
	t.Helper()
	select {
	case <-n.Ready():
	case <-n.Done():
		return n.Err()
	case <-time.After(20 * time.Second):
		t.Fatalf("it neither leads nor says why: %+v", n.Status())
	}
	view, err := n.View()
	for i := 0; err == nil && i < damagedValues; i++ {
		key := fmt.Sprint("k", i)
		p, ok, e := view.Profile("test", key)
		if err = e; err != nil || !ok {
			break
		}
		var data []byte
		if data, _, err = view.Data("test", key, p.Revision); err == nil && string(data) != damagedValue(i) {
			t.Errorf("%s is another value than the saved one", key)
		}
	}
	if view != nil {
		_ = view.Close()
	}
	if err == nil {
		err = n.Snapshot()
		for begin := time.Now(); err != nil && n.Err() == nil && time.Since(begin) < 10*time.Second; err = n.Snapshot() {
			time.Sleep(10 * time.Millisecond) // raft takes none before the configuration of the new address is applied
		}
	}
	if err == nil {
		return n.Err()
	}
	select {
	case <-n.Done():
		return n.Err()
	case <-time.After(5 * time.Second):
		t.Errorf("a read met the damage, and the node goes on: %v", err)
		return nil
	}
}

func checkAdvice(t *testing.T, dir string, err error) {
	t.Helper()
	text := err.Error()
	t.Log(text)
	if strings.Contains(text, "\n") {
		t.Errorf("it says more than one line: %q", text)
	}
	for _, part := range []string{dir, "aside", "docs/operate.md"} {
		if !strings.Contains(text, part) {
			t.Errorf("it says %q, want %q in it", text, part)
		}
	}
}
