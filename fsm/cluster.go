package fsm

import (
	"slices"
	"strings"

	"github.com/profilenode/profilenode/lock"
)

// clusterTable holds the facts of the cluster as a whole: its id, its level, its timing classes.
type clusterTable struct {
	*tableWriter
	policies *policyTable
	audits   *auditTable
}

// foundCluster writes the cluster's first rows.
func (t *clusterTable) foundCluster(c *FoundCluster) Result {
	if len(t.position.Cluster) > 0 {
		return Result{Code: Superseded}
	}
	hasDefault := slices.ContainsFunc(c.Classes, func(class *SetTimingClass) bool { return class.GetName() == DefaultClass })
	if len(c.Cluster) == 0 || c.Level == 0 || !hasDefault || len(c.Classes) > MaxClasses {
		return Result{Code: Invalid}
	}
	for _, class := range c.Classes {
		if CheckClassName(class.Name) != nil || CheckClass(class) != nil {
			return Result{Code: Invalid}
		}
	}
	t.position.Cluster, t.position.Level, t.position.Epoch = c.Cluster, c.Level, 1
	for _, p := range c.Policies {
		if p.Name == "" || strings.ContainsRune(p.Name, 0) {
			continue
		}
		t.policies.putPolicy("", p.Name, p.Value)
	}
	for _, class := range c.Classes {
		t.putTimingClass(class)
	}
	return Result{Token: lock.Token(t.token)}
}

// SuspectedLeader is the last leader that handed its leadership over because it did not hear most game servers.
type SuspectedLeader struct {
	Term    uint64
	StampMS int64
}

// suspectLeader records that the leader of this term hands over.
func (t *clusterTable) suspectLeader(c *SuspectLeader) Result {
	if c.Term != t.term {
		return Result{Code: Superseded}
	}
	w := newRowWriter(20)
	w.writeUint(c.Term)
	w.writeInt(t.position.StampMS)
	t.putRow([]byte{tableSuspected}, w)
	return Result{}
}

// SuspectedLeader returns the last leader that handed over because it did not hear most game servers. ok is false if there
// was none.
func (v *View) SuspectedLeader() (leader SuspectedLeader, ok bool, err error) {
	r := v.tableReader()
	row, ok := r.getRow([]byte{tableSuspected})
	if !ok {
		return SuspectedLeader{}, false, r.err
	}
	f := newRowReader(row)
	leader = SuspectedLeader{Term: f.readUint(), StampMS: f.readInt()}
	r.noteError(f.finishRow(tableSuspected))
	return leader, r.err == nil, r.err
}
