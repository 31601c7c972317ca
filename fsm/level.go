package fsm

import (
	"errors"
	"fmt"

	"github.com/profilenode/profilenode/fsm/logpb"
)

// Level is the highest level that this build can apply. An entry states its own level, and a machine stops at an entry of a
// higher one. A cluster is founded at FirstLevel, which every build can apply, and is raised once every voter can apply
// more.
const (
	Level      = 1
	FirstLevel = 1
)

// featuresOf names what each level brought that a client may use, from level 1 on. A feature is announced once the level
// that contains it is in force: then every node that may lead has it.
var featuresOf = [Level + 1][]string{}

// Features lists the features of a cluster at a level.
func Features(level uint32) (features []string) {
	for _, of := range featuresOf[:min(level, Level)+1] {
		features = append(features, of...)
	}
	return features
}

// ErrOldBuild is the cause of an error about entries or tables of a higher level than this build's.
var ErrOldBuild = errors.New("install a newer build")

// entryLevel returns the level that a build must know to apply an entry: the entry's own, or the one that it raises the
// cluster to. A build that applied such a raise would later open tables that it cannot read.
func entryLevel(entry *logpb.Entry) uint32 {
	level := entry.Level
	for _, c := range entry.Commands {
		level = max(level, c.GetRaiseLevel().GetLevel(), c.GetFoundCluster().GetLevel())
	}
	return level
}

// raiseLevel never goes back: entries of the old level stay valid, and tables may hold rows of the new one.
func (t *clusterTable) raiseLevel(c *RaiseLevel) Result {
	if c.Level <= t.position.Level {
		return Result{Code: Superseded}
	}
	t.position.Level = c.Level
	t.foldWrite(opPut, []byte{tablePosition}, t.position.encode()) // the row itself is written once for a batch
	t.audits.addAudit(AuditRaiseLevel, 0, 0, Audit{Reason: fmt.Sprintf("level %d", c.Level)})
	return Result{}
}
