package snapshot

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/profilenode/profilenode/cluster/internal/disk"
)

// Reader reads a snapshot as a stream. A restore on the same disk copies the files with CopyTo instead.
type Reader struct {
	*packer
	store     *Store
	snapshot  *storedSnapshot
	data      string // folder of the snapshot's files
	closeOnce sync.Once
	closeErr  error
}

// Meta describes the snapshot.
func (r *Reader) Meta() Meta { return r.snapshot.meta }

// Close ends the reading, after which the snapshot may be deleted. Further calls do nothing and return the same error.
func (r *Reader) Close() error {
	r.closeOnce.Do(func() {
		r.closeErr = r.packer.close()
		r.store.mu.Lock()
		r.snapshot.readers--
		r.store.mu.Unlock()
		r.store.deleteOld()
	})
	return r.closeErr
}

// CopyTo puts the snapshot's files into dir, an empty folder, and syncs it. Files of tables are hard links, since Pebble
// never writes to a complete one. The few small files beside them are copied. A file that is not as it was written is a
// disk.DamageError: it must not become a file of the live tables.
func (r *Reader) CopyTo(dir string) error {
	fs := r.store.fs
	for _, f := range r.snapshot.meta.Files {
		from, to := fs.PathJoin(r.data, f.Name), fs.PathJoin(dir, f.Name)
		info, err := fs.Stat(from)
		if err != nil {
			return err
		}
		if info.Size() != f.Size {
			return fmt.Errorf("file %s of the snapshot has %d bytes, not %d", f.Name, info.Size(), f.Size)
		}
		if err := r.checkFile(f); err != nil {
			return disk.AsDamage(from, err)
		}
		if strings.HasSuffix(f.Name, ".sst") || strings.HasSuffix(f.Name, ".blob") {
			err = vfs.LinkOrCopy(fs, from, to)
		} else {
			err = vfs.Copy(fs, from, to)
		}
		if err != nil {
			return err
		}
	}
	return disk.SyncFolder(fs, dir)
}

// checkFile checks a file of the snapshot: one that was received against the checksum that it had then, a table of this node's own
// against those that Pebble wrote in it.
func (r *Reader) checkFile(f fileEntry) error {
	path := r.store.fs.PathJoin(r.data, f.Name)
	if f.Sum == "" {
		if strings.HasSuffix(f.Name, ".sst") {
			return disk.CheckTable(r.store.fs, path)
		}
		return nil
	}
	file, err := r.store.fs.Open(path, vfs.SequentialReadsOption)
	if err != nil {
		return err
	}
	sum := xxhash.New()
	_, err = io.Copy(sum, file)
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	if is := disk.FormatChecksum(sum.Sum64()); is != f.Sum {
		return fmt.Errorf("its checksum is %s, and was %s when it was received", is, f.Sum)
	}
	return nil
}

// UnwrapReader returns the Reader inside the wrappers that raft puts around it. It returns false if there is none.
func UnwrapReader(source io.ReadCloser) (*Reader, bool) {
	for {
		if own, ok := source.(*Reader); ok {
			return own, true
		}
		wrapper, ok := source.(raft.ReadCloserWrapper)
		if !ok {
			return nil, false
		}
		source = wrapper.WrappedReadCloser()
	}
}
