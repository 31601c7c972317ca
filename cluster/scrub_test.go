package cluster_test

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/fsm"
)

// changeRow changes a row of a stopped node's tables behind its back, and returns its key.
func (d *disks) changeRow(i int, prefix byte) []byte {
	d.t.Helper()
	folders, err := d.fs[i].List("tables")
	if err != nil {
		d.t.Fatal(err)
	}
	slices.Sort(folders)
	db, err := pebble.Open("tables/"+folders[0], &pebble.Options{FS: d.fs[i], FormatMajorVersion: fsm.Build{}.FormatAt(fsm.Level), Logger: silent{}})
	if err != nil {
		d.t.Fatal(err)
	}
	rows, err := db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefix}, UpperBound: []byte{prefix + 1}})
	if err != nil || !rows.First() {
		d.t.Fatalf("no row of table %q: %v", prefix, err)
	}
	key, row := slices.Clone(rows.Key()), slices.Clone(rows.Value())
	row[len(row)-1] ^= 1
	if err := rows.Close(); err != nil {
		d.t.Fatal(err)
	}
	if err := db.Set(key, row, pebble.Sync); err != nil {
		d.t.Fatal(err)
	}
	if err := db.Flush(); err != nil {
		d.t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		d.t.Fatal(err)
	}
	return key
}

// passes is the time from one pass through all rows to the next.
const passes = 24 * time.Hour

type silent struct{}

func (silent) Infof(string, ...any)  {}
func (silent) Errorf(string, ...any) {}
func (silent) Fatalf(string, ...any) {}

// A row that was written alike and is another one on one node is found within a day, whichever node leads. Where all are alike no
// alarm stands.
func TestARowThatDiffersIsFoundWithinADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var later atomic.Int64 // how far the clocks of all nodes are set forward
		d := onDisks(t, 3, func(c *cluster.Config) {
			c.Now = func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
		})
		s := register(t, d.Nodes[d.Leader()], "gs")
		load(t, d.Nodes[d.Leader()], s, 0, 20)
		agree(t, d.Cluster)
		comparison := func() fsm.Comparison {
			view, err := d.Nodes[d.Leader()].View()
			if err != nil {
				t.Fatal(err)
			}
			defer view.Close()
			at, err := view.Comparison()
			if err != nil {
				t.Fatal(err)
			}
			return at
		}
		d.Until("a pass to end", func() bool { at := comparison(); return at.StartedMS > 0 && len(at.Next) == 0 })
		first := comparison().StartedMS
		time.Sleep(2 * time.Minute) // a leader waits for sums no longer
		if codes := paging(d.Nodes[d.Leader()]); slices.Contains(codes, cluster.AlarmRowsDiffer) {
			t.Errorf("all rows are alike, and the alarms are %v", codes)
		}

		odd := (d.Leader() + 1) % 3
		d.close(d.Nodes[odd]) // flushes
		d.Nodes[odd] = nil
		key := d.changeRow(odd, 'd')
		d.reopen(odd, d.fs[odd])
		later.Store(int64(passes - 10*time.Minute))
		time.Sleep(2 * time.Minute)
		if begun := comparison().StartedMS; begun != first {
			t.Errorf("a second pass began after %v", time.Duration(begun-first)*time.Millisecond)
		}
		later.Store(int64(passes))
		d.Until("the row to be found", func() bool { return slices.Contains(paging(d.Nodes[d.Leader()]), cluster.AlarmRowsDiffer) })
		if text := alarms(d.Nodes[d.Leader()]); !strings.Contains(text, d.Nodes[odd].ID()+" has ") || !strings.Contains(text, "from the first to the last") {
			t.Errorf("row %q differs, and the alarm says %s", key, text)
		}
	})
}
