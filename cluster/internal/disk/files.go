// Package disk holds the code that the stores of a node share for work on its disk: files and folders that survive a
// crash (files.go), errors of damaged files (damage.go), file systems that stop Pebble where it would go on or panic
// after a failed operation (stop_on_fault.go), an end to waits for a Pebble that does not return (watch.go), a record of
// the operations that wait for the disk (operations.go), and a log line for slow steps (slow_step.go).
//
// Its invariant: content is never acknowledged before it is synced, and never after a sync of it has failed.
package disk

import (
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// UnfinishedSuffix ends the name of a file or folder that is still being written. Such a file is never read, and the next
// start deletes or replaces it.
const UnfinishedSuffix = ".tmp"

// MakeFolder makes the folder at path and syncs it and its parent, so that it survives a crash. Only its owner may read
// it. An existing folder is no error.
func MakeFolder(fs vfs.FS, path string) error {
	if err := fs.MkdirAll(path, 0o700); err != nil {
		return err
	}
	if err := SyncFolder(fs, path); err != nil {
		return err
	}
	return SyncFolder(fs, fs.PathDir(path))
}

// SyncFolder syncs the names in the folder at path. Files that were made, renamed or deleted in it remain so after a crash.
func SyncFolder(fs vfs.FS, path string) error {
	folder, err := fs.OpenDir(path)
	if err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	if err := errors.Join(folder.Sync(), folder.Close()); err != nil {
		return fmt.Errorf("sync folder %s: %w", path, err)
	}
	return nil
}

// WriteFile replaces the content of the file at path and syncs it. After a crash or an error the file holds either the old
// content or the new one, complete.
func WriteFile(fs vfs.FS, path string, content []byte) error {
	file, err := fs.Create(path+UnfinishedSuffix, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if err == nil {
		err = file.Sync()
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := fs.Rename(path+UnfinishedSuffix, path); err != nil {
		return err
	}
	return SyncFolder(fs, fs.PathDir(path))
}

// ReadFile returns the content of the file at path. It returns an error if that is more than limit bytes.
func ReadFile(fs vfs.FS, path string, limit int64) ([]byte, error) {
	file, err := fs.Open(path)
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err == nil && int64(len(content)) > limit {
		err = fmt.Errorf("file %s is longer than %d bytes", path, limit)
	}
	return content, errors.Join(err, file.Close())
}

// FormatChecksum returns an XXH64 in the hex form that JSON files of this module use.
func FormatChecksum(sum uint64) string { return fmt.Sprintf("%016x", sum) }
