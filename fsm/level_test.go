package fsm_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/profilenode/profilenode/fsm"
)

// A newer build and an older one stand beside each other. What the newer one may write rises with the level; the older one
// goes along up to there, and then stops, in whatever form it meets what it does not know.
func TestAnOlderBuildStopsWhereTheLevelRises(t *testing.T) {
	disk := vfs.NewMem()
	newer := read(openAt(t, disk, fsm.Level+1))(t)
	older := read(openAt(t, vfs.NewMem(), 0))(t) // this build, as it is
	defer func() { must(t, older.Close()) }()
	raise := func(level uint32) *fsm.Command { return fsm.NewCommand(nil, &fsm.RaiseLevel{Level: level}) }

	logs := []fsm.Log{
		entry(t, 1, fsm.NewCommand(nil, &fsm.FoundCluster{Cluster: testCluster, Level: fsm.FirstLevel, Classes: fsm.DefaultClasses()})),
		entry(t, 2, raise(fsm.FirstLevel)),
		entry(t, 3, raise(fsm.Level+1), raise(fsm.Level)),
	}
	out := read(newer.Apply(logs))(t)
	if out[1].Results[0].Code != fsm.Superseded || out[2].Results[0].Code != fsm.OK || out[2].Results[1].Code != fsm.Superseded {
		t.Errorf("a raise to the same level, to a higher one, and back: %v, %v", out[1].Results, out[2].Results)
	}
	if level := newer.Position().Level; level != fsm.Level+1 {
		t.Errorf("the level is %d", level)
	}

	same := read(older.Apply(logs[:2]))(t)
	if same[1].Digest != out[1].Digest {
		t.Error("the two builds differ below the level that they differ in")
	}
	standing := older.Position()
	if _, err := older.Apply(logs[2:]); !errors.Is(err, fsm.ErrPoison) || !strings.Contains(err.Error(), "install a newer build") {
		t.Errorf("the raise, for the older build: %v", err)
	}
	if now := older.Position(); now.Index != standing.Index || now.Digest != standing.Digest {
		t.Errorf("it stood at %+v, and now at %+v", standing, now)
	}

	must(t, newer.Close()) // flushes
	says := fmt.Sprintf("they are of level %d, this build knows %d: install a newer build", fsm.Level+1, fsm.Level)
	if m, err := openAt(t, disk, 0); err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("the older build opens tables of the newer one: %v, %v", m, err)
	}
	must(t, read(openAt(t, disk, fsm.Level+1))(t).Close())
}
