package cluster_test

import (
	"errors"
	"io"
	"path"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/cluster/clustertest"
)

// damageLargest changes a bit in the middle of the largest table of the newest snapshot in a node's files, and, with live, of the
// largest one that the live tables have too, there as well.
func damageLargest(t *testing.T, fs vfs.FS, live bool) {
	t.Helper()
	names, err := fs.List("snapshots")
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	newest := ""
	for _, name := range names {
		if len(name) > len(newest) || len(name) == len(newest) && name > newest { // term-index-sequence
			newest = name
		}
	}
	data := path.Join("snapshots", newest, "data")
	files, err := fs.List(data)
	if err != nil {
		t.Fatal(err)
	}
	folders, err := fs.List("tables")
	if err != nil {
		t.Fatal(err)
	}
	inLive := func(name string) string {
		for _, folder := range folders {
			if _, err := fs.Stat(path.Join("tables", folder, name)); err == nil {
				return path.Join("tables", folder, name)
			}
		}
		return ""
	}
	largest, most := "", int64(0)
	for _, name := range files {
		if info, err := fs.Stat(path.Join(data, name)); err == nil && strings.HasSuffix(name, ".sst") && info.Size() > most && (!live || inLive(name) != "") {
			largest, most = name, info.Size()
		}
	}
	content := readAll(t, fs, path.Join(data, largest))
	content[len(content)/2] ^= 1
	replace(t, fs, path.Join(data, largest), content)
	if live {
		replace(t, fs, inLive(largest), content)
	}
}

func readAll(t *testing.T, fs vfs.FS, name string) []byte {
	t.Helper()
	file, err := fs.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(file)
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
	return content
}

// replace puts another file in the place of one, so that links to it stay as they are.
func replace(t *testing.T, fs vfs.FS, name string, content []byte) {
	t.Helper()
	if err := fs.Remove(name); err != nil {
		t.Fatal(err)
	}
	file, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	_, err = file.Write(content)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		t.Fatal(err)
	}
}

// A damaged file of the leader's snapshot reaches no other node. Where the live tables are whole, a new snapshot takes its place
// and the follower catches up; where they are damaged too, the leader stops, and the follower gets the snapshot of the next one.
func TestADamagedSnapshotReachesNoOtherNode(t *testing.T) {
	for _, test := range []struct {
		name string
		live bool
	}{{"the snapshot alone is damaged", false}, {"the live tables are damaged too", true}} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, logged := trailing(t, 1, 5)
				leader := d.Leader()
				n, away := d.Nodes[leader], (leader+1)%3
				s := register(t, n, "gs")
				load(t, n, s, 0, 40)
				agree(t, d.Cluster)
				d.Kill(away)
				load(t, n, s, 40, 120)
				// No snapshot is due that would be newer than the damaged one, and Pebble compacts nothing any more.
				for range 3 {
					time.Sleep(3 * time.Second)
					if err := n.Snapshot(); err != nil {
						t.Fatal(err)
					}
				}
				damageLargest(t, d.fs[leader], test.live)
				d.reopen(away, d.fs[away])
				d.Until("the follower to catch up", func() bool {
					return d.Nodes[away].Status().Applied >= n.Status().Applied && d.Nodes[away].Err() == nil
				})
				d.Until("the leader to meet the damage", func() bool {
					return n.Err() != nil || logged[leader].count("SNAPSHOT_DAMAGED") > 0
				})
				switch err := n.Err(); {
				case test.live && (!errors.Is(err, cluster.ErrFailed) || !strings.Contains(err.Error(), "is damaged")):
					t.Errorf("the leader has damaged tables, and stopped with %v", err)
				case !test.live && (err != nil || logged[leader].count("SNAPSHOT_DAMAGED") == 0):
					t.Errorf("the leader replaced %d snapshots, and stopped with %v", logged[leader].count("SNAPSHOT_DAMAGED"), err)
				}
				if third := d.Nodes[3-leader-away]; third.Err() != nil {
					t.Errorf("the third node stopped: %v", third.Err())
				}
			})
		})
	}
}

// A snapshot that a follower can never put in place is sent to it again and again. Both sides say so, until it is.
func TestBothSidesSayThatASnapshotIsNotInstalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _ := trailing(t, 1, 5)
		leader := d.Leader()
		n, away := d.Nodes[leader], (leader+1)%3
		s := register(t, n, "gs")
		load(t, n, s, 0, 20)
		d.Kill(away)
		load(t, n, s, 20, 100)
		if err := n.Snapshot(); err != nil {
			t.Fatal(err)
		}
		broken := &badDisk{path: "/data/", err: syscall.EIO} // the files of a snapshot that is received
		broken.bad.Store(true)
		d.configs[away].FS = broken.over(d.fs[away])
		follower, err := cluster.Open(t.Context(), d.configs[away])
		if err != nil {
			t.Fatal(err)
		}
		d.Nodes[away] = follower
		d.Until("both to say that the snapshot is not put in place", func() bool {
			return slices.Contains(paging(n), cluster.AlarmSnapshotNotInstalled) && slices.Contains(paging(follower), cluster.AlarmSnapshotNotInstalled)
		})
		if !strings.Contains(alarms(n), "to node "+follower.ID()) {
			t.Errorf("the leader does not name the follower: %s", alarms(n))
		}
		broken.bad.Store(false)
		d.Until("the follower to catch up, and the alarms to end", func() bool {
			return follower.Status().Applied >= n.Status().Applied &&
				!slices.Contains(paging(n), cluster.AlarmSnapshotNotInstalled) && !slices.Contains(paging(follower), cluster.AlarmSnapshotNotInstalled)
		})
	})
}

// A node whose snapshots fail keeps its whole log until its disk is full, and says so long before.
func TestANodeSaysThatItCannotTakeASnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := &badDisk{path: "checkpoint-", err: syscall.EIO}
		c := clustertest.Start(t, 1, func(_ int, c *cluster.Config) {
			c.FS = broken.over(vfs.NewMem())
			c.SnapshotBytes, c.TrailingBytes, c.TrailingLogs = 64<<10, 1, 5
		})
		c.Ready()
		n := c.Nodes[0]
		broken.bad.Store(true)
		s := register(t, n, "gs")
		load(t, n, s, 0, 40)
		c.Until("the node to say that it cannot take a snapshot", func() bool { return slices.Contains(paging(n), cluster.AlarmSnapshotLate) })
		if n.Err() != nil {
			t.Errorf("it stopped: %v", n.Err())
		}
		broken.bad.Store(false)
		c.Until("the alarm to end", func() bool { return !slices.Contains(paging(n), cluster.AlarmSnapshotLate) })
	})
}
