package snapshot

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/profilenode/profilenode/cluster/internal/disk"
	"github.com/profilenode/profilenode/fsm"
)

// sink receives one snapshot: as a stream from another node (Write), or as the folder of a checkpoint of this node
// (adoptCheckpoint).
type sink struct {
	store    *Store
	sequence uint64
	dir      string // folder of the snapshot; it gets its final name once it is complete
	meta     Meta
	unpacker *unpacker // writes a received stream; nil before the first byte and for a checkpoint
	adopted  bool      // a checkpoint was moved in
	done     bool      // Close or Cancel was called
	writeErr error     // of the last Write
	closeErr error     // result of Close
}

var _ raft.SnapshotSink = (*sink)(nil)

// ID returns the id of the snapshot, with which it can be opened once it is complete.
func (k *sink) ID() string { return k.meta.Label.ID }

// Write takes the next piece of a stream. The first call may refuse the snapshot (see Store.AdmitIncoming).
func (k *sink) Write(b []byte) (int, error) {
	if k.done || k.adopted {
		return 0, errors.New("write snapshot: it is complete, or was given up")
	}
	if k.unpacker == nil {
		if k.writeErr = k.beginReceiving(); k.writeErr != nil {
			return 0, k.writeErr
		}
	}
	n, err := k.unpacker.Write(b)
	k.writeErr = err
	if errors.Is(err, fsm.ErrOldBuild) && k.store.OnOldBuild != nil {
		k.store.OnOldBuild(fmt.Errorf("take snapshot: %w", err)) // the next snapshot would need the same build
	}
	return n, err
}

func (k *sink) beginReceiving() error {
	if admit := k.store.AdmitIncoming; admit != nil {
		if err := admit(k.meta.Label.Index); err != nil {
			return fmt.Errorf("take snapshot: %w", err)
		}
	}
	data := k.store.fs.PathJoin(k.dir, dataFolder)
	if err := k.store.fs.MkdirAll(data, 0o700); err != nil {
		return fmt.Errorf("take snapshot: %w", err)
	}
	k.unpacker = newUnpacker(k.store.fs, data, k.store.Build)
	return nil
}

// adoptCheckpoint moves the folder of a checkpoint of this node's tables into the snapshot. It reads and copies no file.
func (k *sink) adoptCheckpoint(checkpoint string, at fsm.Position) error {
	if k.done || k.adopted || k.unpacker != nil {
		return errors.New("keep snapshot: it has content already")
	}
	format, err := fsm.ReadFileFormat(k.store.fs, checkpoint)
	if err != nil {
		return fmt.Errorf("keep snapshot: %w", err)
	}
	if err := k.store.fs.Rename(checkpoint, k.store.fs.PathJoin(k.dir, dataFolder)); err != nil {
		return fmt.Errorf("keep snapshot: %w", err)
	}
	k.meta.contents, k.adopted = contents{Row: at.Index, Level: at.Level, FileFormat: format}, true
	return nil
}

// Close completes the snapshot. When it returns nil, the snapshot is synced and listed. After an error nothing of it
// remains. Further calls return the same.
func (k *sink) Close() error {
	if k.done {
		return k.closeErr
	}
	k.done = true
	if err := k.completeSnapshot(); err != nil {
		k.closeErr = fmt.Errorf("complete snapshot %s: %w", k.ID(), err)
		k.closeErr = errors.Join(k.closeErr, k.abandonSnapshot())
	}
	k.reportReceived(k.closeErr)
	return k.closeErr
}

// Cancel deletes the unfinished snapshot. After Close it does nothing.
func (k *sink) Cancel() error {
	if k.done {
		return nil
	}
	k.done = true
	k.closeErr = fmt.Errorf("snapshot %s was given up", k.ID())
	k.reportReceived(cmp.Or(k.writeErr, k.closeErr))
	return k.abandonSnapshot()
}

func (k *sink) reportReceived(err error) {
	if !k.adopted && k.store.OnReceived != nil {
		k.store.OnReceived(err)
	}
}

func (k *sink) abandonSnapshot() error {
	var err error
	if k.unpacker != nil {
		err = k.unpacker.close()
	}
	return errors.Join(err, k.store.fs.RemoveAll(k.dir))
}

func (k *sink) completeSnapshot() error {
	s, data := k.store, k.store.fs.PathJoin(k.dir, dataFolder)
	var err error
	switch {
	case k.adopted:
		k.meta.Files, err = syncFiles(s.fs, data)
	case k.unpacker != nil:
		k.meta.contents, err = k.receivedContents(data)
	default:
		err = errors.New("it is empty")
	}
	if err != nil {
		return err
	}
	// A node that installs the snapshot continues with the entry after its label. If the tables held entries beyond the label,
	// the node would skip these entries, and answer them without having applied them.
	if k.meta.Row > k.meta.Label.Index {
		return fmt.Errorf("it holds entries up to %d, beyond its label %d", k.meta.Row, k.meta.Label.Index)
	}
	k.meta.Label.Size = streamBytes(k.meta.Files)
	if err := writeMeta(s.fs, k.dir, k.meta); err != nil {
		return err
	}
	if err := s.fs.Rename(k.dir, s.fs.PathJoin(s.root, k.ID())); err != nil {
		return err
	}
	k.dir = s.fs.PathJoin(s.root, k.ID())
	if err := disk.SyncFolder(s.fs, s.root); err != nil {
		return err
	}
	s.addSnapshot(&storedSnapshot{meta: k.meta, sequence: k.sequence})
	return nil
}

// receivedContents returns the contents of a received snapshot. It checks that the stream is complete, and that row and level of
// the tables are those in the stream's head.
func (k *sink) receivedContents(data string) (contents, error) {
	if err := k.unpacker.finishUnpacking(); err != nil {
		return contents{}, err
	}
	position, err := fsm.ReadPosition(k.store.fs, data, k.store.Build)
	if err != nil {
		return contents{}, fmt.Errorf("read tables in it: %w", err)
	}
	if says := k.unpacker.contents; position.Index != says.Row || position.Level != says.Level {
		return contents{}, fmt.Errorf("it says that it holds entries up to %d at level %d, and holds them up to %d at level %d",
			says.Row, says.Level, position.Index, position.Level)
	}
	return k.unpacker.contents, nil
}

// syncFiles syncs the files in dir and dir itself, and returns the list of the files.
func syncFiles(fs vfs.FS, dir string) ([]fileEntry, error) {
	names, err := fs.List(dir)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	files := make([]fileEntry, 0, len(names))
	for _, name := range names {
		if err := checkFileName(name); err != nil {
			return nil, err
		}
		file, err := fs.Open(fs.PathJoin(dir, name))
		if err != nil {
			return nil, err
		}
		info, err := file.Stat()
		if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
			return nil, err
		}
		files = append(files, fileEntry{Name: name, Size: info.Size()})
	}
	return files, disk.SyncFolder(fs, dir)
}
