package cluster

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/profilenode/profilenode/cluster/internal/datafolder"
)

// A node.json that a crash or a full disk cut off says what to do.
func TestACutOffNodeFileSaysWhatToDo(t *testing.T) {
	c := DefaultConfig()
	c.Dir, c.Bind = t.TempDir(), "127.0.0.1:0"
	if err := os.WriteFile(filepath.Join(c.Dir, datafolder.IdentityFile), []byte(`{"format": 1, "id": "ab`), 0o600); err != nil {
		t.Fatal(err)
	}
	n, err := Open(t.Context(), c)
	if err == nil {
		n.Close(t.Context())
		t.Fatal("a node starts on a cut off node.json")
	}
	if !strings.Contains(err.Error(), "node.json is damaged") || !strings.Contains(err.Error(), "aside and start the node with an empty one: it joins under a new id") {
		t.Errorf("it says %v", err)
	}
}

// Every line of a node's log has its id.
func TestEveryLineOfANodesLogHasItsID(t *testing.T) {
	var mu sync.Mutex
	var said strings.Builder
	c := DefaultConfig()
	c.Memory, c.Bind = true, "127.0.0.1:0"
	c.Log = slog.New(slog.NewTextHandler(lockedWriter{&mu, &said}, nil))
	n, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	<-n.Ready()
	if err := n.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(said.String()) {
		if !strings.Contains(line, " id="+n.ID()) {
			t.Errorf("a line without the node's id: %s", line)
		}
	}
}

type lockedWriter struct {
	mu *sync.Mutex
	to *strings.Builder
}

func (w lockedWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.to.Write(p)
}
