package cluster

import (
	"errors"
	"log/slog"
	"testing"

	"github.com/hashicorp/raft"
)

func TestRaftGetsNoPipeline(t *testing.T) {
	wire := newRaftTransport(&transport{id: "a", address: "a:7401"}, raftLog{logger: slog.New(slog.DiscardHandler)})
	defer wire.Close()
	if _, err := wire.AppendEntriesPipeline("b", "b@b:7401"); !errors.Is(err, raft.ErrPipelineReplicationNotSupported) {
		t.Errorf("a pipeline: %v, want none, since raft can wait in one for ever", err)
	}
}
