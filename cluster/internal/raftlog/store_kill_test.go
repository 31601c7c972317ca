//go:build unix

package raftlog

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
)

// TestLogOutlivesKills kills a process that appends to a log and cuts it at both ends, and compares the log with the acts
// that the process had printed. The environment variable LOG_KILLS sets the number of kills.
func TestLogOutlivesKills(t *testing.T) {
	const child = "LOG_KILLS_CHILD"
	if place := os.Getenv(child); place != "" {
		writeUntilKilled(place)
	}
	if testing.Short() {
		t.Skip("starts processes")
	}
	kills := 5
	if text := os.Getenv("LOG_KILLS"); text != "" {
		var err error
		if kills, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	dir, self := t.TempDir(), os.Args[0]
	source := rand.New(rand.NewPCG(1, 1))
	var first, last uint64 // bounds of the log after the last act that was printed as done
	acts := 0
	for kill := range kills {
		writer := exec.Command(self, "-test.run=^TestLogOutlivesKills$")
		writer.Env = append(os.Environ(), child+"="+dir)
		output, err := writer.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := writer.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(output)
		opened, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("kill %d: the log does not open: %s %v", kill, opened, err)
		}
		var gotFirst, gotLast uint64
		if _, err := fmt.Sscanf(opened, "opened %d %d", &gotFirst, &gotLast); err != nil {
			t.Fatalf("kill %d: %s", kill, opened)
		}
		timer := time.AfterFunc(time.Duration(source.IntN(80))*time.Millisecond, func() { _ = writer.Process.Kill() })
		rest, _ := io.ReadAll(lines) // it ends with the process
		timer.Stop()
		_ = writer.Wait()
		begun := "" // the act that was printed as begun and not as done
		for line := range strings.Lines(string(rest)) {
			var a, b uint64
			switch {
			case !strings.HasSuffix(line, "\n"):
			case strings.HasPrefix(line, "begin"):
				begun = line
			default:
				if _, err := fmt.Sscanf(line, "done %d %d", &a, &b); err != nil {
					t.Fatalf("kill %d: %s", kill, line)
				}
				first, last, begun = a, b, ""
				acts++
			}
		}
		stop := func(err error) { t.Errorf("stopped: %v", err) }
		s, err := openStore(vfs.Default, dir, false, pebble.FormatNewest, slog.New(slog.DiscardHandler), stop)
		if err != nil {
			t.Fatalf("kill %d: open: %v", kill, err)
		}
		compareWithOutput(t, s, kill, first, last, begun)
		first, last = s.IndexBounds()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if acts < kills {
		t.Errorf("%d acts in %d kills prove nothing", acts, kills)
	}
	t.Logf("%d kills, %d acts, nothing lost", kills, acts)
}

// compareWithOutput fails the test unless the log has the bounds first and last. The act that was begun may be done as a
// whole or not at all. Entries that were cut from the head may be there again.
func compareWithOutput(t *testing.T, s *Store, kill int, first, last uint64, begun string) {
	t.Helper()
	gotFirst, gotLast := s.IndexBounds()
	allowed := []uint64{last}
	var a, b uint64
	if _, err := fmt.Sscanf(begun, "begin append %d %d", &a, &b); err == nil {
		allowed = append(allowed, b)
	}
	if _, err := fmt.Sscanf(begun, "begin tail %d", &a); err == nil {
		allowed = append(allowed, a-1)
	}
	ok := false
	for _, l := range allowed {
		ok = ok || gotLast == l
	}
	if _, err := fmt.Sscanf(begun, "begin head %d", &a); err == nil {
		first = a + 1
	}
	if !ok || gotFirst > first && gotFirst != 0 && first != 0 {
		t.Fatalf("kill %d: the log is %d to %d, printed was %d to %d, then %q", kill, gotFirst, gotLast, first, last, begun)
	}
	for i := gotFirst; i <= gotLast && i != 0; i++ {
		var l raft.Log
		if err := s.GetLog(i, &l); err != nil {
			t.Fatalf("kill %d: entry %d: %v", kill, i, err)
		}
		if want := writtenData(i, l.Term); !bytes.Equal(l.Data, want) {
			t.Fatalf("kill %d: entry %d of term %d has other data", kill, i, l.Term)
		}
	}
}

// writtenData returns the data of an entry that writeUntilKilled writes.
func writtenData(index, term uint64) []byte {
	source := rand.New(rand.NewPCG(index, term))
	size := source.IntN(4 << 10)
	if source.IntN(50) == 0 {
		size = 1 << 20
	}
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(source.Uint32())
	}
	return data
}

// writeUntilKilled appends and cuts until its process is killed. It prints each act before and after it does it.
func writeUntilKilled(dir string) {
	fail := func(err error) {
		fmt.Println("FAILED:", err)
		os.Exit(1)
	}
	s, err := openStore(vfs.Default, dir, false, pebble.FormatNewest, slog.New(slog.DiscardHandler), func(err error) { fail(err) })
	if err != nil {
		fail(err)
	}
	first, last := s.IndexBounds()
	fmt.Printf("opened %d %d\n", first, last)
	term := uint64(time.Now().UnixNano())
	source := rand.New(rand.NewPCG(term, 0))
	for {
		var err error
		switch n := source.IntN(10); {
		case n < 7 || first == 0 || last-first < 20:
			to := last + 1 + source.Uint64N(16)
			var logs []*raft.Log
			for i := last + 1; i <= to; i++ {
				logs = append(logs, &raft.Log{Index: i, Term: term, Data: writtenData(i, term)})
			}
			fmt.Printf("begin append %d %d\n", last+1, to)
			err = s.StoreLogs(logs)
		case n < 9:
			to := first + source.Uint64N(last-first-10)
			fmt.Printf("begin head %d\n", to)
			err = s.DeleteRange(first, to)
		default:
			from := last - source.Uint64N(8)
			fmt.Printf("begin tail %d\n", from)
			err = s.DeleteRange(from, last)
			term++
		}
		if err != nil {
			fail(err)
		}
		first, last = s.IndexBounds()
		fmt.Printf("done %d %d\n", first, last)
	}
}
