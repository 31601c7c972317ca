package cluster

import (
	"context"
	"errors"
	"fmt"

	"github.com/profilenode/profilenode/fsm"
)

// LastIndex is how far this node's log reaches: its last entry, or its newest snapshot if that is further.
func (n *Node) LastIndex() uint64 {
	r := n.raftIfRunning()
	if r == nil {
		return 0
	}
	return r.LastIndex()
}

// RaiseRolledBack keeps an alarm that this cluster has lost entries that a caller was told of: old disks were put back. Only a
// leader that has confirmed its lead after it was told of seen may say so, and by its log: its tables may be behind for a while.
func (n *Node) RaiseRolledBack(ctx context.Context, seen uint64) error {
	last := n.LastIndex()
	result, err := n.Propose(ctx, fsm.NewCommand(nil, &fsm.RaiseAlarm{Code: string(AlarmRolledBack), Text: fmt.Sprintf(
		"a game server was told of entry %d, and the log ended at %d: old disks were put back under the cluster, and what was acknowledged since is lost; "+
			"start anew the game servers that ran before, then profilenode alarms clear %s", seen, last, AlarmRolledBack)}))
	if err == nil && result.Code != fsm.OK && result.Code != fsm.Superseded { // superseded: it stands already
		err = errors.New("the tables do not take it")
	}
	if err != nil {
		return fmt.Errorf("raise the alarm %s: %w", AlarmRolledBack, err)
	}
	return nil
}
