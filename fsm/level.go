package fsm

import (
	"errors"

	"github.com/profilenode/profilenode/fsm/logpb"
)

// Level is the highest format that this build can apply. An entry states its own, and a machine stops at one that is above
// what it can. A cluster is founded at FirstLevel, which every build can apply, and raised from there once every voter can
// apply more.
const (
	Level      = 1
	FirstLevel = 1
)

// featuresOf names what each level brought that a client may use, from level 1 on. A feature is announced once the level
// that contains it is in force: then every node that may lead has it.
var featuresOf = [Level + 1][]string{}

// Features are those of a cluster at a level.
func Features(level uint32) (features []string) {
	for _, of := range featuresOf[:min(level, Level)+1] {
		features = append(features, of...)
	}
	return features
}

// ErrOldBuild is of entries and tables whose level is above what this build knows.
var ErrOldBuild = errors.New("install a newer build")

// entryLevel is what a build must know for an entry: its own level, and the one that it leads to. A build that took a level as
// a mere number would open tables later that it cannot read.
func entryLevel(entry *logpb.Entry) uint32 {
	level := entry.Level
	for _, c := range entry.Commands {
		level = max(level, c.GetRaise().GetLevel(), c.GetFound().GetLevel())
	}
	return level
}

// raiseLevel never goes back: entries of the old level stay valid, and tables may hold rows of the new one.
func (t *clusterTable) raiseLevel(c *Raise) Result {
	if c.Level <= t.position.Level {
		return Result{Code: Superseded}
	}
	t.position.Level = c.Level
	t.foldWrite(opPut, []byte{tablePosition}, t.position.encode()) // the row itself is written once for a batch
	return Result{}
}
