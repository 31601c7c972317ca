package tables

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/profilenode/profilenode/cluster/internal/snapshot"
)

func sorted(names []string) []string { return slices.Sorted(slices.Values(names)) }

// create begins a snapshot with the label index, of term 1.
func create(t testing.TB, s *snapshot.Store, index uint64) raft.SnapshotSink {
	t.Helper()
	sink, err := s.Create(1, index, 1, raft.Configuration{Servers: []raft.Server{{ID: "a", Address: "a@h:1"}}}, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	return sink
}

// keep takes a snapshot of this node with the label index, as raft does.
func keep(t testing.TB, d *nodeDisk, index uint64) {
	t.Helper()
	snapshot, err := d.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer snapshot.Release()
	sink := create(t, d.snapshots, index)
	if err := snapshot.Persist(sink); err != nil {
		t.Fatal(err)
	}
	if err := sink.Close(); err != nil {
		t.Fatal(err)
	}
}

// takeSnapshot takes a snapshot with the label index, and returns its label and its stream.
func takeSnapshot(t testing.TB, d *nodeDisk, index uint64) (*raft.SnapshotMeta, []byte) {
	t.Helper()
	keep(t, d, index)
	labels, err := d.snapshots.List()
	if err != nil || len(labels) == 0 {
		t.Fatal(labels, err)
	}
	label, reader, err := d.snapshots.Open(labels[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := io.ReadAll(reader)
	if err := errors.Join(err, reader.Close()); err != nil {
		t.Fatal(err)
	}
	return label, stream
}

// tryReceive stores a snapshot that another node sends, as raft does.
func tryReceive(d *nodeDisk, label *raft.SnapshotMeta, stream []byte) error {
	sink, err := d.snapshots.Create(label.Version, label.Index, label.Term, label.Configuration, label.ConfigurationIndex, nil)
	if err != nil {
		return err
	}
	for len(stream) > 0 {
		piece := stream[:min(len(stream), 997)]
		if _, err := sink.Write(piece); err != nil {
			return errors.Join(err, sink.Cancel())
		}
		stream = stream[len(piece):]
	}
	return sink.Close()
}

func receive(t testing.TB, d *nodeDisk, label *raft.SnapshotMeta, stream []byte) {
	t.Helper()
	if err := tryReceive(d, label, stream); err != nil {
		t.Fatal(err)
	}
}

// wrappedReader stands for the reader that raft passes to Restore, a wrapper of the snapshot's own. It counts its reads: a
// restore must not read the stream, but link the files.
type wrappedReader struct {
	io.ReadCloser
	read *int
}

func (w wrappedReader) WrappedReadCloser() io.ReadCloser { return w.ReadCloser }

func (w wrappedReader) Read(b []byte) (int, error) {
	*w.read++
	return w.ReadCloser.Read(b)
}

// tryRestoreNewest restores the newest snapshot in the node's store, as raft does.
func tryRestoreNewest(d *nodeDisk) error {
	labels, err := d.snapshots.List()
	if err != nil {
		return err
	}
	_, reader, err := d.snapshots.Open(labels[0].ID)
	if err != nil {
		return err
	}
	reads := 0
	err = d.Restore(wrappedReader{reader, &reads})
	if reads > 0 {
		err = errors.Join(err, fmt.Errorf("a local restore read %d times from the stream", reads))
	}
	return errors.Join(err, reader.Close())
}

func restoreNewest(t testing.TB, d *nodeDisk) {
	t.Helper()
	if err := tryRestoreNewest(d); err != nil {
		t.Fatal(err)
	}
}

// A node that receives and restores a snapshot has the same digest as the sender, also after both have applied more
// entries.
func TestSnapshotTravels(t *testing.T) {
	for name, place := range map[string]func() (vfs.FS, string){
		"memory": func() (vfs.FS, string) { return vfs.NewMem(), "node" },
		"disk":   func() (vfs.FS, string) { return nil, t.TempDir() },
	} {
		t.Run(name, func(t *testing.T) {
			logs := storyLog(t, 41)
			fs, dir := place()
			from := openDisk(t, fs, dir)
			defer from.shut(t)
			if name == "disk" {
				for _, folder := range []string{"tables", "snapshots"} {
					info, err := os.Stat(filepath.Join(dir, folder))
					if err != nil || info.Mode().Perm() != 0o700 {
						t.Errorf("folder %s: %v, %v; want access for its owner only", folder, info.Mode(), err)
					}
				}
			}
			for first := uint64(1); first < 31; first += 10 {
				from.play(t, logs, first, first+9)
				if err := from.tables.Flush(); err != nil {
					t.Fatal(err)
				}
			}
			label, stream := takeSnapshot(t, from, 30)
			if int64(len(stream)) != label.Size {
				t.Fatalf("the stream has %d bytes, its label says %d", len(stream), label.Size)
			}

			fs, dir = place()
			to := openDisk(t, fs, dir)
			receive(t, to, label, stream)
			restoreNewest(t, to)
			if got, want := to.tables.Position(), from.tables.Position(); got.Index != 30 || got.Digest != want.Digest {
				t.Errorf("after the restore the tables are at %+v, want %+v", got, want)
			}
			labels, err := to.snapshots.List()
			if err != nil || len(labels) != 1 {
				t.Fatal(labels, err)
			}
			got := labels[0]
			if got.Index != 30 || got.Term != 1 || got.Size != label.Size {
				t.Errorf("the received label is %+v, want %+v", got, label)
			}
			if got.ConfigurationIndex != 1 || len(got.Configuration.Servers) != 1 {
				t.Errorf("the received label has the configuration %+v of entry %d", got.Configuration, got.ConfigurationIndex)
			}
			from.play(t, logs, 31, 41)
			to.play(t, logs, 31, 41)
			_, reader, err := to.snapshots.Open(labels[0].ID)
			if err != nil {
				t.Fatal(err)
			}
			kept, err := io.ReadAll(reader)
			if err := errors.Join(err, reader.Close()); err != nil || !bytes.Equal(kept, stream) {
				t.Errorf("the stored snapshot has changed after its restore: %v", err)
			}
			to.shut(t)

			to = openDisk(t, fs, dir)
			defer to.shut(t)
			if got, want := to.tables.Position().Digest, from.tables.Position().Digest; got != want {
				t.Errorf("after more entries and a restart the digest is %x, want %x", got, want)
			}
			again, stream2 := takeSnapshotAfterReplay(t, to, logs, 41)
			third := openDisk(t, vfs.NewMem(), "node")
			defer third.shut(t)
			receive(t, third, again, stream2)
			restoreNewest(t, third)
			if got, want := third.tables.Position().Digest, from.tables.Position().Digest; got != want {
				t.Errorf("on a third node the digest is %x, want %x", got, want)
			}
		})
	}
}

// takeSnapshotAfterReplay replays the log up to last, which must come before a snapshot after a start, and takes a
// snapshot.
func takeSnapshotAfterReplay(t testing.TB, d *nodeDisk, logs []*raft.Log, last uint64) (*raft.SnapshotMeta, []byte) {
	t.Helper()
	d.play(t, logs, 1, last)
	return takeSnapshot(t, d, last)
}

// fileSizes returns the sizes of the files in a folder, by name.
func fileSizes(t testing.TB, fs vfs.FS, dir string) map[string]int64 {
	t.Helper()
	sizes := map[string]int64{}
	for _, name := range list(t, fs, dir) {
		info, err := fs.Stat(fs.PathJoin(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		sizes[name] = info.Size()
	}
	return sizes
}

// A stream with a wrong, a missing or an additional bit is refused, and leaves no files.
func TestDamagedStreamIsRefused(t *testing.T) {
	fromFS := vfs.NewMem()
	from := openDisk(t, fromFS, "node")
	defer from.shut(t)
	from.play(t, storyLog(t, 9), 1, 9)
	label, stream := takeSnapshot(t, from, 9)

	fs := vfs.NewMem()
	to := openDisk(t, fs, "node")
	defer to.shut(t)
	refused := func(damage string, stream []byte) {
		t.Helper()
		if err := tryReceive(to, label, stream); err == nil {
			t.Errorf("a stream with this damage was accepted: %s", damage)
		}
		if left := list(t, fs, "node/snapshots"); len(left) != 0 {
			t.Fatalf("a refused stream left %v: %s", left, damage)
		}
	}
	// The head ends where the first file begins: each file is followed by a checksum.
	head := len(stream)
	for _, size := range fileSizes(t, fromFS, "node/snapshots/"+label.ID+"/data") {
		head -= int(size) + 8
	}
	step := func(i int) int {
		if i < head+64 || i > len(stream)-64 {
			return 1
		}
		return 61
	}
	for i := 0; i < len(stream); i += step(i) {
		damaged := bytes.Clone(stream)
		damaged[i] ^= 1 << (i % 8)
		refused(fmt.Sprintf("bit of byte %d of %d", i, len(stream)), damaged)
		refused(fmt.Sprintf("cut at byte %d of %d", i, len(stream)), stream[:i])
	}
	refused("one byte more", append(bytes.Clone(stream), 0))
	// The bytes 16 to 23 of the head are the applied row. Here they state another row than the tables have.
	other := bytes.Clone(stream)
	binary.BigEndian.PutUint64(other[16:], 8)
	binary.BigEndian.PutUint64(other[head-8:], xxhash.Sum64(other[:head-8]))
	refused("another row", other)

	receive(t, to, label, stream)
}

// If a snapshot held more entries than its label says, the node that installs it would skip these and acknowledge them.
func TestSnapshotBeyondItsLabelIsRefused(t *testing.T) {
	d := openDisk(t, vfs.NewMem(), "node")
	defer d.shut(t)
	d.play(t, storyLog(t, 9), 1, 9)
	snapshot, err := d.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer snapshot.Release()
	if err := snapshot.Persist(create(t, d.snapshots, 8)); err == nil {
		t.Error("entries up to 9 were kept under the label 8")
	}
	label, stream := takeSnapshot(t, d, 9)
	label.Index = 8
	if err := tryReceive(d, label, stream); err == nil {
		t.Error("entries up to 9 were taken under the label 8")
	}
}

// Write does not change the bytes that it gets: raft uses its buffer again.
func TestWriteLeavesTheCallersBytes(t *testing.T) {
	from := openDisk(t, vfs.NewMem(), "node")
	defer from.shut(t)
	from.play(t, storyLog(t, 9), 1, 9)
	label, stream := takeSnapshot(t, from, 9)
	given := bytes.Clone(stream)
	to := openDisk(t, vfs.NewMem(), "node")
	defer to.shut(t)
	receive(t, to, label, given)
	if !bytes.Equal(given, stream) {
		t.Error("Write changed the bytes of its caller")
	}
}
