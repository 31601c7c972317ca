package snapshot

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
)

// A stream may not write anywhere but into its own folder, nor more than it says; and a refused one leaves nothing behind.
func TestAStreamWithAWrongListOfFilesIsRefused(t *testing.T) {
	fs := vfs.NewMem()
	s, err := Open(fs, "snapshots", 2, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for what, files := range map[string][]fileEntry{
		"a path":       {{Name: "../x"}},
		"parent":       {{Name: ".."}},
		"no name":      {{Name: ""}},
		"a long name":  {{Name: strings.Repeat("x", maxFileName+1)}},
		"the same two": {{Name: "x"}, {Name: "x"}},
		"too large":    {{Name: "x", Size: maxTotalBytes + 1}},
		"negative":     {{Name: "x", Size: -1}},
		"no tables":    {},
	} {
		sink, err := s.Create(1, 9, 1, raft.Configuration{}, 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sink.Write(encodeStreamHead(9, files)); err != nil {
			if err := sink.Cancel(); err != nil {
				t.Error(err)
			}
		} else if sink.Close() == nil {
			t.Errorf("%s: taken", what)
		}
		if left, err := fs.List("snapshots"); err != nil || len(left) != 0 {
			t.Fatalf("%s: left behind %v, %v", what, left, err)
		}
	}
}
