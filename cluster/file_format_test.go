package cluster_test

import (
	"errors"
	"path"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/fsm"
)

// The formats of a build whose Pebble is one minor version behind, and of the newer build. At the first level both write the
// same.
const (
	olderFormat = pebble.FormatNewest - 1
	newerFormat = pebble.FormatNewest
)

func formatAt(level uint32) pebble.FormatMajorVersion {
	if level < newer {
		return olderFormat
	}
	return newerFormat
}

// formats returns the formats of the files of a node's tables and of its log.
func (d *disks) formats(i int) (tables, log pebble.FormatMajorVersion) {
	d.t.Helper()
	folders, err := d.fs[i].List("tables")
	if err != nil {
		d.t.Fatal(err)
	}
	for _, folder := range append(folders, "../log") {
		format, err := fsm.ReadFileFormat(d.fs[i], path.Join("tables", folder))
		if err != nil && path.Ext(folder) == "" && folder != "CURRENT" {
			d.t.Fatal(err)
		}
		if folder == "../log" {
			log = format
		} else {
			tables = max(tables, format)
		}
	}
	return tables, log
}

// Until the level rises, an old build can be put back on a folder on which a new one ran, and takes its snapshots. Afterwards
// the files have the new format, and the old build refuses them and says why.
func TestFilesKeepTheOlderBuildsFormatUntilTheLevelRises(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := onDisks(t, 3, func(c *cluster.Config) {
			c.FileFormat = formatAt
			c.SnapshotBytes, c.TrailingBytes, c.TrailingLogs = 128<<10, 1, 5
		})
		s := register(t, d.Nodes[d.Leader()], "gs")
		load(t, d.Nodes[d.Leader()], s, 0, 20)
		was := d.Leader()
		next, away := (was+1)%3, (was+2)%3

		// The new build, the old one and the new one again on one folder.
		d.restart(next, newer)
		d.set("beside the new build")
		d.restart(next, fsm.Level)
		d.set("back on the old build")
		d.restart(next, newer)

		// The new build leads, and sends a snapshot to a follower of the old build.
		d.Kill(away)
		d.Until("the new build to lead", func() bool {
			if leader := d.Leader(was, next); leader != next {
				_ = d.Nodes[leader].TransferTo(t.Context(), d.Nodes[next]) // it is looked at again
				return false
			}
			return true
		})
		load(t, d.Nodes[next], s, 20, 120)
		d.reopen(away, d.fs[away])
		d.Until("the old build to take the snapshot", func() bool {
			return d.Nodes[away].Status().Applied >= d.Nodes[next].Status().Applied
		})
		for i := range d.Nodes {
			if tables, log := d.formats(i); tables != olderFormat || log != olderFormat {
				t.Errorf("before the level rises, node %d has tables of format %d and a log of %d, want %d", i, tables, log, olderFormat)
			}
		}

		d.restart(was, newer)
		d.restart(away, newer)
		d.rises()
		d.set("at the new level")
		d.at(newer)
		for i := range d.Nodes {
			if tables, _ := d.formats(i); tables != newerFormat {
				t.Errorf("node %d has tables of format %d after the level rose, want %d", i, tables, newerFormat)
			}
		}
		d.restart(away, newer)
		d.Until("the node to be back", func() bool { return d.Nodes[away].Status().Applied >= d.Nodes[d.Leader()].Status().Applied })
		if _, log := d.formats(away); log != newerFormat {
			t.Errorf("after a start at the new level the log has format %d, want %d", log, newerFormat)
		}
		d.Kill(away)
		d.configs[away].Level = fsm.Level
		if n, err := cluster.Open(t.Context(), d.configs[away]); err == nil || !errors.Is(err, fsm.ErrOldBuild) {
			d.close(n)
			t.Errorf("the old build opens files of the new format: %v", err)
		}
		time.Sleep(time.Second)
		d.configs[away].Level = newer
		d.reopen(away, d.fs[away])
		d.set("with all nodes")
		d.at(newer)
	})
}
