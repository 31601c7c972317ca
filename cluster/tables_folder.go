package cluster

import (
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// currentFile holds one line: the name of the folder beside it that is live.
const currentFile = "CURRENT"

// unfinishedSuffix ends the name of whatever is still being written. Nothing reads it, and the next start deletes it.
const unfinishedSuffix = ".tmp"

func folderName(number uint64) string { return fmt.Sprintf("%06d", number) }

// folderNumber reads a name that folderName made.
func folderNumber(name string) (uint64, bool) {
	number, err := strconv.ParseUint(name, 10, 64)
	return number, err == nil && number > 0 && folderName(number) == name
}

// readCurrent returns the name of the live folder; ok is false where there never was one.
func (t *tablesStore) readCurrent() (name string, ok bool, err error) {
	path := t.fs.PathJoin(t.root, currentFile)
	content, err := readFile(t.fs, path, 64)
	if errors.Is(err, iofs.ErrNotExist) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("read %s: %w", path, err)
	}
	name = strings.TrimSuffix(string(content), "\n")
	if _, ok := folderNumber(name); !ok {
		return "", false, &damagedError{path, fmt.Errorf("%q names no folder of tables", name)}
	}
	if _, err := t.fs.Stat(t.fs.PathJoin(t.root, name)); err != nil {
		return "", false, asDamage(path, fmt.Errorf("open the tables that it names: %w", err))
	}
	return name, true, nil
}

// writeCurrent makes name, which makeFolder made and which is synced, the folder that the next start opens.
func (t *tablesStore) writeCurrent(name string) error {
	if err := writeFile(t.fs, t.fs.PathJoin(t.root, currentFile), []byte(name+"\n")); err != nil {
		return fmt.Errorf("name the live tables: %w", err)
	}
	return nil
}

// deleteOtherFolders deletes what keep does not name of the things that we make in the folder of tables, and learns the
// highest number.
func (t *tablesStore) deleteOtherFolders(keep string) error {
	names, err := t.fs.List(t.root)
	if err != nil {
		return err
	}
	for _, name := range names {
		number, ours := folderNumber(name)
		if ours {
			t.lastFolder = max(t.lastFolder, number)
		}
		if name == keep || !ours && !strings.HasSuffix(name, unfinishedSuffix) {
			continue
		}
		if err := t.fs.RemoveAll(t.fs.PathJoin(t.root, name)); err != nil {
			return err
		}
	}
	return nil
}

// pebbleLog carries what Pebble says into the log, and its last words to the node.
type pebbleLog struct{ tables *tablesStore }

var _ pebble.Logger = pebbleLog{}

func (l pebbleLog) Infof(format string, args ...any) {
	l.tables.log.Debug(fmt.Sprintf(format, args...), "from", "pebble")
}

func (l pebbleLog) Errorf(format string, args ...any) {
	l.tables.log.Error(fmt.Sprintf(format, args...), "from", "pebble")
}

// Fatalf never returns, since Pebble goes on as if all were well when it does. The process goes on without it: the node
// stops, others in this process do not.
func (l pebbleLog) Fatalf(format string, args ...any) {
	l.tables.markStuck(fmt.Errorf(format, args...))
	select {}
}

// makeFolder makes path, for its owner alone, such that it outlives a crash.
func makeFolder(fs vfs.FS, path string) error {
	if err := fs.MkdirAll(path, 0o700); err != nil {
		return err
	}
	if err := syncFolder(fs, path); err != nil {
		return err
	}
	return syncFolder(fs, fs.PathDir(path))
}

func syncFolder(fs vfs.FS, path string) error {
	folder, err := fs.OpenDir(path)
	if err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	if err := errors.Join(folder.Sync(), folder.Close()); err != nil {
		return fmt.Errorf("sync folder %s: %w", path, err)
	}
	return nil
}

// writeFile replaces path whole: after a crash it holds the old content or the new.
func writeFile(fs vfs.FS, path string, content []byte) error {
	file, err := fs.Create(path+unfinishedSuffix, vfs.WriteCategoryUnspecified)
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
	if err := fs.Rename(path+unfinishedSuffix, path); err != nil {
		return err
	}
	return syncFolder(fs, fs.PathDir(path))
}

// readFile reads a file of at most limit bytes.
func readFile(fs vfs.FS, path string, limit int64) ([]byte, error) {
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
