package snapshot

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/profilenode/profilenode/cluster/internal/disk"
	"github.com/profilenode/profilenode/fsm"
)

// sink takes one snapshot in: as a stream from another node, or whole, by adopt, from this one.
type sink struct {
	store    *Store
	sequence uint64
	dir      string // renamed once all is there
	meta     Meta
	unpacker *unpacker
	adopted  bool
	done     bool
	closeErr error // result of Close
}

var _ raft.SnapshotSink = (*sink)(nil)

// ID is the name under which it will be opened.
func (k *sink) ID() string { return k.meta.Label.ID }

// Write takes the next piece of the stream.
func (k *sink) Write(b []byte) (int, error) {
	if k.done || k.adopted {
		return 0, errors.New("write snapshot: it is complete, or was given up")
	}
	if k.unpacker == nil {
		if err := k.beginReceiving(); err != nil {
			return 0, err
		}
	}
	return k.unpacker.Write(b)
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
	k.unpacker = newUnpacker(k.store.fs, data)
	return nil
}

// adoptCheckpoint moves a checkpoint of our own tables in, with nothing read and nothing copied.
func (k *sink) adoptCheckpoint(checkpoint string, row uint64) error {
	if k.done || k.adopted || k.unpacker != nil {
		return errors.New("keep snapshot: it has content already")
	}
	if err := k.store.fs.Rename(checkpoint, k.store.fs.PathJoin(k.dir, dataFolder)); err != nil {
		return fmt.Errorf("keep snapshot: %w", err)
	}
	k.meta.Row, k.adopted = row, true
	return nil
}

// Close completes the snapshot: when it returns nil, all of it is on disk and listed. Any other end leaves nothing.
func (k *sink) Close() error {
	if k.done {
		return k.closeErr
	}
	k.done = true
	if err := k.completeSnapshot(); err != nil {
		k.closeErr = fmt.Errorf("complete snapshot %s: %w", k.ID(), err)
		k.closeErr = errors.Join(k.closeErr, k.abandonSnapshot())
	}
	return k.closeErr
}

// Cancel gives the snapshot up. After a Close that succeeded it does nothing.
func (k *sink) Cancel() error {
	if k.done {
		return nil
	}
	k.done = true
	k.closeErr = fmt.Errorf("snapshot %s was given up", k.ID())
	return k.abandonSnapshot()
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
		k.meta.Files, k.meta.Row, err = k.receivedFiles(data)
	default:
		err = errors.New("it is empty")
	}
	if err != nil {
		return err
	}
	// More than its label would be skipped entries at the node that installs it: acknowledged, and never applied.
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

// receivedFiles checks that the stream came whole, and that it holds the machine that it says.
func (k *sink) receivedFiles(data string) ([]fileEntry, uint64, error) {
	if err := k.unpacker.finishUnpacking(); err != nil {
		return nil, 0, err
	}
	position, err := fsm.ReadPosition(k.store.fs, data)
	if err != nil {
		return nil, 0, fmt.Errorf("read tables in it: %w", err)
	}
	if position.Index != k.unpacker.row {
		return nil, 0, fmt.Errorf("it says that it holds entries up to %d, and holds them up to %d", k.unpacker.row, position.Index)
	}
	return k.unpacker.files, k.unpacker.row, nil
}

// syncFiles syncs a checkpoint's files and lists them.
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
