package peerwire

import (
	"errors"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

func TestRaftGetsNoPipeline(t *testing.T) {
	wire := NewRaftTransport(&Port{config: Config{ID: "a", Advertise: "a:7401"}}, hclog.NewNullLogger(), nil)
	defer wire.Close()
	if _, err := wire.AppendEntriesPipeline("b", "b@b:7401"); !errors.Is(err, raft.ErrPipelineReplicationNotSupported) {
		t.Errorf("a pipeline: %v, want none, since raft can wait in one for ever", err)
	}
}
