package peerwire

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
)

// What raft leaves to its logger to format is text, and no format with its arguments beside it.
func TestFieldsThatRaftFormatsAreReadable(t *testing.T) {
	var said strings.Builder
	log := NewRaftLogger(slog.New(slog.NewTextHandler(&said, nil)))
	log.Info("initial configuration", "index", 1, "servers", hclog.Fmt("%+v", []string{"n0", "n1"}))
	log.With("peers", hclog.Fmt("%d", 3)).Warn("alone")
	for _, want := range []string{`servers="[n0 n1]"`, "peers=3"} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("the log lacks %s: %s", want, said.String())
		}
	}
}
