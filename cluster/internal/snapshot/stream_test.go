package snapshot

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
)

// A stream writes only into its own folder, and no more than its list says. A refused stream leaves no files.
func TestAStreamWithAWrongListOfFilesIsRefused(t *testing.T) {
	fs := vfs.NewMem()
	s, err := Open(fs, "snapshots", 2, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for name, files := range map[string][]fileEntry{
		"a path":          {{Name: "../x"}},
		"the parent":      {{Name: ".."}},
		"an empty name":   {{Name: ""}},
		"a long name":     {{Name: strings.Repeat("x", maxFileName+1)}},
		"a repeated name": {{Name: "x"}, {Name: "x"}},
		"a large file":    {{Name: "x", Size: maxTotalBytes + 1}},
		"a negative size": {{Name: "x", Size: -1}},
		"no files":        {},
	} {
		sink, err := s.Create(1, 9, 1, raft.Configuration{}, 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sink.Write(encodeStreamHead(contents{Row: 9, Files: files})); err != nil {
			if err := sink.Cancel(); err != nil {
				t.Error(err)
			}
		} else if sink.Close() == nil {
			t.Errorf("a stream with %s was accepted", name)
		}
		if left, err := fs.List("snapshots"); err != nil || len(left) != 0 {
			t.Fatalf("a refused stream with %s left %v, %v", name, left, err)
		}
	}
}
