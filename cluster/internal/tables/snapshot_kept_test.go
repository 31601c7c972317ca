package tables

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/profilenode/profilenode/cluster/internal/disk"
	"github.com/profilenode/profilenode/cluster/internal/snapshot"
)

func TestSinkEndsOnce(t *testing.T) {
	logs := storyLog(t, 9)
	fs := vfs.NewMem()
	d := openDisk(t, fs, "node")
	defer d.shut(t)
	d.play(t, logs, 1, 9)

	sink := create(t, d.snapshots, 9)
	if err := errors.Join(sink.Cancel(), sink.Cancel()); err != nil {
		t.Errorf("cancel twice: %v", err)
	}
	if sink.Close() == nil {
		t.Error("Close of a cancelled snapshot returned nil")
	}
	if _, err := sink.Write([]byte("x")); err == nil {
		t.Error("Write to a cancelled snapshot returned nil")
	}
	sink = create(t, d.snapshots, 9)
	for range 2 {
		if sink.Close() == nil {
			t.Error("Close of an empty snapshot returned nil")
		}
	}
	if err := sink.Cancel(); err != nil {
		t.Errorf("cancel after a close that failed: %v", err)
	}
	if left := list(t, fs, "node/snapshots"); len(left) != 0 {
		t.Errorf("the cancelled snapshots left %v", left)
	}

	snapshot, err := d.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	sink = create(t, d.snapshots, 9)
	err = errors.Join(snapshot.Persist(sink), sink.Close(), sink.Cancel(), sink.Close())
	snapshot.Release()
	snapshot.Release()
	if err != nil {
		t.Errorf("close and cancel of a snapshot that is complete: %v", err)
	}
	if left := list(t, fs, "node/snapshots"); len(left) != 1 || left[0] != sink.ID() {
		t.Errorf("on disk there is %v, want %s", left, sink.ID())
	}

	snapshot, err = d.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	snapshot.Release()
	if left := list(t, fs, "node/snapshots"); len(left) != 1 {
		t.Errorf("an unused checkpoint left %v", left)
	}
}

func TestOldSnapshotsGoUnlessRead(t *testing.T) {
	logs := storyLog(t, 13)
	fs := vfs.NewMem()
	d := openDisk(t, fs, "node")
	defer d.shut(t)
	d.play(t, logs, 1, 5)
	label, stream := takeSnapshot(t, d, 5)
	_, reader, err := d.snapshots.Open(label.ID)
	if err != nil {
		t.Fatal(err)
	}
	start := make([]byte, 100)
	if _, err := io.ReadFull(reader, start); err != nil {
		t.Fatal(err)
	}
	for last := uint64(7); last <= 13; last += 2 {
		d.play(t, logs, last-1, last)
		keep(t, d, last)
	}
	indexes := func() string {
		labels, err := d.snapshots.List()
		if err != nil {
			t.Fatal(err)
		}
		var list []uint64
		for _, label := range labels {
			list = append(list, label.Index)
		}
		return fmt.Sprint(list)
	}
	if got, want := indexes(), "[13 11 5]"; got != want {
		t.Errorf("listed while the oldest is read: %s, want %s", got, want)
	}
	rest, err := io.ReadAll(reader)
	if err != nil || !bytes.Equal(append(start, rest...), stream) {
		t.Errorf("a snapshot changed while it was read: %v", err)
	}
	if err := errors.Join(reader.Close(), reader.Close()); err != nil {
		t.Error(err)
	}
	if got, want := indexes(), "[13 11]"; got != want {
		t.Errorf("listed once it is closed: %s, want %s", got, want)
	}
	if left := list(t, fs, "node/snapshots"); len(left) != 2 {
		t.Errorf("on disk there is %v, want two snapshots", left)
	}
	if _, _, err := d.snapshots.Open(label.ID); err == nil {
		t.Error("a deleted snapshot could be opened")
	}
	if err := fs.MkdirAll("node/snapshots/1-20-99.tmp/data", 0o700); err != nil {
		t.Fatal(err)
	}
	again, err := snapshot.Open(fs, "node/snapshots", 2, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	d.snapshots = again
	if got, want := indexes(), "[13 11]"; got != want {
		t.Errorf("listed after a restart: %s, want %s", got, want)
	}
	if left := list(t, fs, "node/snapshots"); len(left) != 2 {
		t.Errorf("after a restart there is %v, want two snapshots", left)
	}
}

// After a crash while snapshots are made and deleted, all listed snapshots are complete, and the newest complete one is
// listed.
func TestCrashWhileSnapshotsAreKept(t *testing.T) {
	logs := storyLog(t, 15)
	for _, unsynced := range []int{0, 50} {
		fs := newCrashes(t, unsynced)
		d := openDisk(t, fs, "node")
		digests := map[uint64]uint64{}
		complete := []uint64{0} // for each crash, the index of the newest snapshot that was complete before it
		d.play(t, logs, 1, 5)
		for last := uint64(7); last <= 15; last += 2 {
			d.play(t, logs, last-1, last)
			if err := d.tables.Flush(); err != nil {
				t.Fatal(err)
			}
			digests[last] = d.tables.Position().Digest
			fs.watch(true)
			keep(t, d, last)
			fs.watch(false)
			for len(complete) < len(fs.left) {
				complete = append(complete, last-2)
			}
		}
		d.shut(t)
		for i, crashed := range fs.left {
			d := openDisk(t, crashed, "node")
			labels, err := d.snapshots.List()
			if err != nil || len(labels) > 2 {
				t.Fatal(labels, err)
			}
			if want := complete[i]; want > 5 && (len(labels) == 0 || labels[0].Index < want) {
				t.Errorf("crash %d: %d snapshots are listed, and that of entry %d is lost", i, len(labels), want)
			}
			for _, label := range labels {
				_, reader, err := d.snapshots.Open(label.ID)
				if err != nil {
					t.Fatal(err)
				}
				stream, err := io.ReadAll(reader)
				if err := errors.Join(err, reader.Close()); err != nil {
					t.Fatalf("crash %d: read snapshot %s: %v", i, label.ID, err)
				}
				to := openDisk(t, vfs.NewMem(), "node")
				receive(t, to, label, stream)
				restoreNewest(t, to)
				if got, want := to.tables.Position().Digest, digests[label.Index]; got != want {
					t.Errorf("crash %d: snapshot %s has digest %x, want %x", i, label.ID, got, want)
				}
				to.shut(t)
			}
			d.shut(t)
		}
	}
}

// damageFile changes a bit in the middle of a file.
func damageFile(t *testing.T, fs vfs.FS, path string) {
	t.Helper()
	content, err := disk.ReadFile(fs, path, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)/2] ^= 1
	if err := disk.WriteFile(fs, path, content); err != nil {
		t.Fatal(err)
	}
}

// Of two meta files one may be damaged. If a snapshot without either were ignored, the node would start from an older one, and the
// log may lack the entries that follow it.
func TestOnlyASnapshotWithoutAMetaFileStopsTheStart(t *testing.T) {
	fs := vfs.NewMem()
	d := openDisk(t, fs, "node")
	d.play(t, storyLog(t, 9), 1, 9)
	label, _ := takeSnapshot(t, d, 9)
	d.shut(t)
	for _, name := range []string{"meta.json", "meta-copy.json"} {
		damageFile(t, fs, "node/snapshots/"+label.ID+"/"+name)
		for range 2 { // the second time both are whole again
			s, err := snapshot.Open(fs, "node/snapshots", 2, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatalf("start with a damaged %s: %v", name, err)
			}
			if labels, err := s.List(); err != nil || len(labels) != 1 || !reflect.DeepEqual(labels[0], label) {
				t.Errorf("with a damaged %s the snapshot is listed as %v, %v, want %v", name, labels, err, label)
			}
		}
	}
	damageFile(t, fs, "node/snapshots/"+label.ID+"/meta.json")
	damageFile(t, fs, "node/snapshots/"+label.ID+"/meta-copy.json")
	_, err := snapshot.Open(fs, "node/snapshots", 2, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), label.ID) {
		t.Errorf("start without a meta file: %v", err)
	}
}

// A file of a snapshot that was damaged after it was received, or linked, does not become one of the live tables.
func TestRottenSnapshotIsNotPutInPlace(t *testing.T) {
	for _, kind := range []string{".sst", "MANIFEST"} {
		from := openDisk(t, vfs.NewMem(), "node")
		defer from.shut(t)
		from.play(t, storyLog(t, 9), 1, 9)
		label, stream := takeSnapshot(t, from, 9)
		fs := vfs.NewMem()
		to := openDisk(t, fs, "node")
		defer to.shut(t)
		receive(t, to, label, stream)
		labels, err := to.snapshots.List()
		if err != nil {
			t.Fatal(err)
		}
		data := "node/snapshots/" + labels[0].ID + "/data/"
		damaged := ""
		for file := range fileSizes(t, fs, data) {
			if strings.HasSuffix(file, kind) || strings.HasPrefix(file, kind) {
				damaged = data + file
			}
		}
		damageFile(t, fs, damaged)
		_, reader, err := to.snapshots.Open(labels[0].ID)
		if err != nil {
			t.Fatal(err)
		}
		err = to.Restore(reader)
		if !disk.IsDamage(err) || !strings.Contains(err.Error(), damaged) {
			t.Errorf("restore with a damaged %s: %v", damaged, err)
		}
		if position := to.tables.Position(); position.Index != 0 {
			t.Errorf("the tables are those of the damaged snapshot: %+v", position)
		}
		if err := reader.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A file that was damaged after it was received is not sent with a checksum that fits the damage.
func TestRottenSnapshotIsNotSent(t *testing.T) {
	for _, own := range []bool{false, true} {
		from := openDisk(t, vfs.NewMem(), "node")
		defer from.shut(t)
		from.play(t, storyLog(t, 9), 1, 9)
		label, stream := takeSnapshot(t, from, 9)

		fs := vfs.NewMem()
		to := openDisk(t, fs, "node")
		defer to.shut(t)
		if own { // its checksums are those of the tables themselves
			to.play(t, storyLog(t, 9), 1, 9)
			takeSnapshot(t, to, 9)
		} else {
			receive(t, to, label, stream)
		}
		labels, err := to.snapshots.List()
		if err != nil {
			t.Fatal(err)
		}
		id, file, largest := labels[0].ID, "", int64(0)
		for name, size := range fileSizes(t, fs, "node/snapshots/"+id+"/data") {
			if size > largest && strings.HasSuffix(name, ".sst") {
				file, largest = name, size
			}
		}
		told := ""
		to.snapshots.OnDamage = func(file string, _ error) { told = file }
		damageFile(t, fs, "node/snapshots/"+id+"/data/"+file)
		_, reader, err := to.snapshots.Open(id)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, reader); err == nil || told != file {
			t.Errorf("own tables %v: a damaged file was sent: %v, and the node was told of %q, want %q", own, err, told, file)
		}
		if err := reader.Close(); err != nil {
			t.Error(err)
		}
		if err := to.tables.CheckFile(file); err != nil { // the snapshot alone was damaged
			t.Errorf("own tables %v: the live tables are damaged: %v", own, err)
		}
	}
}
