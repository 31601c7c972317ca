package tables

import (
	"errors"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/profilenode/profilenode/fsm"
)

func TestReplicaAnswersEachEntry(t *testing.T) {
	logs := storyLog(t, 5)
	d := openDisk(t, vfs.NewMem(), "node")
	defer d.shut(t)
	d.play(t, logs, 1, 3)

	change := &raft.Log{Index: 4, Term: 2, Type: raft.LogConfiguration, Data: []byte("not a command")}
	session := *storyLog(t, 4)[3]
	session.Index, session.Term = 5, 2
	again := *logs[2]
	got := d.ApplyBatch([]*raft.Log{&again, change, &session})
	if len(got) != 3 {
		t.Fatalf("%d answers to 3 entries", len(got))
	}
	if a, ok := got[0].(AppliedResults); !ok || !a.Skipped || a.Index != 3 {
		t.Errorf("an entry that was applied before is answered with %+v", got[0])
	}
	if got[1] != nil {
		t.Errorf("a configuration is answered with %+v", got[1])
	}
	a, ok := got[2].(AppliedResults)
	if !ok || a.Skipped || a.Index != 5 || a.Term != 2 || len(a.Results) != 1 || a.Results[0].Code != fsm.OK {
		t.Errorf("a command is answered with %+v", got[2])
	}
	if d.events == 0 {
		t.Error("there was no event for the grant")
	}
	if row := d.tables.Position().Index; row != 5 {
		t.Errorf("the row is at %d, want 5", row)
	}
}

func TestPoisonStopsTheReplica(t *testing.T) {
	logs := storyLog(t, 9)
	d := openDisk(t, vfs.NewMem(), "node")
	defer d.shut(t)
	d.play(t, logs, 1, 5)
	poison := &raft.Log{Index: 6, Term: 1, Type: raft.LogCommand, Data: []byte{0xff, 0xff}}
	change := &raft.Log{Index: 7, Term: 1, Type: raft.LogConfiguration}
	for _, response := range d.ApplyBatch([]*raft.Log{poison, change}) {
		if err, ok := response.(error); !ok || !errors.Is(err, fsm.ErrPoison) {
			t.Errorf("response to a batch with poison: %v", response)
		}
	}
	if _, ok := d.Apply(logs[7]).(error); !ok {
		t.Error("an entry after poison was applied")
	}
	if got := d.stopped.count(); got != 1 {
		t.Errorf("the node was stopped %d times, want once", got)
	}
	if row := d.tables.Position().Index; row != 5 {
		t.Errorf("the row is at %d, want 5", row)
	}
	if _, err := d.Snapshot(); err == nil {
		t.Error("a replica that has failed took a snapshot")
	}
}

// While raft hands over entries that the tables already have, a checkpoint would hold more than the label that raft gives
// it.
func TestSnapshotWaitsForTheReplay(t *testing.T) {
	logs := storyLog(t, 15)
	fs := vfs.NewMem()
	d := openDisk(t, fs, "node")
	d.play(t, logs, 1, 9)
	keep(t, d, 9)
	d.play(t, logs, 10, 15)
	d.shut(t)

	d = openDisk(t, fs, "node")
	defer d.shut(t)
	if _, err := d.Snapshot(); err == nil {
		t.Error("a snapshot was taken before raft handed over any entry")
	}
	restoreNewest(t, d)
	if row := d.tables.Position().Index; row != 15 {
		t.Errorf("a restore at the start took the tables from 15 to %d", row)
	}
	for last := uint64(10); last <= 14; last++ {
		d.play(t, logs, last, last)
		if _, err := d.Snapshot(); err == nil {
			t.Errorf("a snapshot was taken at the replay of entry %d, with the tables at 15", last)
		}
	}
	d.play(t, logs, 15, 15)
	keep(t, d, 15)
}

// The entries in a restored snapshot count as handed over, also if no entry follows.
func TestSnapshotAfterARestore(t *testing.T) {
	from := openDisk(t, vfs.NewMem(), "node")
	defer from.shut(t)
	from.play(t, storyLog(t, 9), 1, 9)
	label, stream := takeSnapshot(t, from, 9)
	to := openDisk(t, vfs.NewMem(), "node")
	defer to.shut(t)
	receive(t, to, label, stream)
	restoreNewest(t, to)
	keep(t, to, 9)
}

func TestRestoreRefusesAnotherCluster(t *testing.T) {
	from := openDisk(t, vfs.NewMem(), "node")
	defer from.shut(t)
	from.play(t, storyLog(t, 9), 1, 9)
	label, stream := takeSnapshot(t, from, 9)

	to := openDisk(t, vfs.NewMem(), "node")
	defer to.shut(t)
	other := []byte("another cluster.")
	found := fsm.NewCommand(nil, &fsm.FoundCluster{Cluster: other, Level: fsm.Level, Classes: fsm.DefaultClasses()})
	data, err := fsm.Encode(fsm.Level, other, 1, []*fsm.Command{found})
	if err != nil {
		t.Fatal(err)
	}
	to.Apply(&raft.Log{Index: 1, Term: 1, Type: raft.LogCommand, Data: data})
	receive(t, to, label, stream)
	if err := tryRestoreNewest(to); err == nil {
		t.Error("the tables of one cluster were replaced by those of another")
	}
	if got := to.tables.Position(); got.Index != 1 || string(got.Cluster) != string(other) {
		t.Errorf("after the refusal the tables are at %+v", got)
	}
}

// A snapshot that is not ahead of the tables is refused if the log holds later entries, which raft would delete.
func TestAdmission(t *testing.T) {
	from := openDisk(t, vfs.NewMem(), "node")
	defer from.shut(t)
	logs := storyLog(t, 15)
	from.play(t, logs, 1, 9)
	label, stream := takeSnapshot(t, from, 9)

	for _, c := range []struct {
		row, log uint64
		taken    bool
	}{
		{row: 7, log: 7, taken: true},
		{row: 7, log: 15, taken: true},
		{row: 9, log: 9, taken: true},
		{row: 9, log: 10, taken: false},
		{row: 15, log: 15, taken: false},
	} {
		to := openDisk(t, vfs.NewMem(), "node")
		to.play(t, logs, 1, c.row)
		to.snapshots.AdmitIncoming = to.CheckIncomingSnapshot(func() (uint64, error) { return c.log, nil })
		if err := tryReceive(to, label, stream); (err == nil) != c.taken {
			t.Errorf("snapshot of entry 9, tables at %d, log to %d: %v, want taken %v", c.row, c.log, err, c.taken)
		}
		keep(t, to, to.tables.Position().Index) // a snapshot of this node is never refused
		to.shut(t)
	}
	to := openDisk(t, vfs.NewMem(), "node")
	defer to.shut(t)
	to.play(t, logs, 1, 9)
	to.snapshots.AdmitIncoming = to.CheckIncomingSnapshot(func() (uint64, error) { return 0, errors.New("disk") })
	if tryReceive(to, label, stream) == nil {
		t.Error("a node that cannot read its log accepted a snapshot")
	}
}

func TestApplyingIsSeen(t *testing.T) {
	logs := storyLog(t, 5)
	d := openDisk(t, vfs.NewMem(), "node")
	defer d.shut(t)
	if _, running := d.ApplyingSince(); running {
		t.Error("an apply is reported before there is one")
	}
	began := time.Unix(1000, 0)
	d.now = func() time.Time { return began }
	seen := false
	d.onEvents = func([]fsm.Event) {
		since, running := d.ApplyingSince()
		seen = running && since.Equal(began)
	}
	d.play(t, logs, 1, 5)
	if !seen {
		t.Error("a running apply was not reported")
	}
	if _, running := d.ApplyingSince(); running {
		t.Error("an apply is reported after its end")
	}
}
