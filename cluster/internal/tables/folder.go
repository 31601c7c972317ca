package tables

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"strconv"
	"strings"

	"github.com/profilenode/profilenode/cluster/internal/disk"
)

// currentFile holds one line: the name of the folder beside it that is live.
const currentFile = "CURRENT"

func folderName(number uint64) string { return fmt.Sprintf("%06d", number) }

// folderNumber reads a name that folderName made.
func folderNumber(name string) (uint64, bool) {
	number, err := strconv.ParseUint(name, 10, 64)
	return number, err == nil && number > 0 && folderName(number) == name
}

// readCurrent returns the name of the live folder; ok is false where there never was one.
func (t *Store) readCurrent() (name string, ok bool, err error) {
	path := t.fs.PathJoin(t.root, currentFile)
	content, err := disk.ReadFile(t.fs, path, 64)
	if errors.Is(err, iofs.ErrNotExist) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("read %s: %w", path, err)
	}
	name = strings.TrimSuffix(string(content), "\n")
	if _, ok := folderNumber(name); !ok {
		return "", false, disk.NewDamageError(path, fmt.Errorf("%q names no folder of tables", name))
	}
	if _, err := t.fs.Stat(t.fs.PathJoin(t.root, name)); err != nil {
		return "", false, disk.AsDamage(path, fmt.Errorf("open the tables that it names: %w", err))
	}
	return name, true, nil
}

// writeCurrent makes name, which makeFolder made and which is synced, the folder that the next start opens.
func (t *Store) writeCurrent(name string) error {
	if err := disk.WriteFile(t.fs, t.fs.PathJoin(t.root, currentFile), []byte(name+"\n")); err != nil {
		return fmt.Errorf("name the live tables: %w", err)
	}
	return nil
}

// deleteOtherFolders deletes what keep does not name of the things that we make in the folder of tables, and learns the
// highest number.
func (t *Store) deleteOtherFolders(keep string) error {
	names, err := t.fs.List(t.root)
	if err != nil {
		return err
	}
	for _, name := range names {
		number, ours := folderNumber(name)
		if ours {
			t.lastFolder = max(t.lastFolder, number)
		}
		if name == keep || !ours && !strings.HasSuffix(name, disk.UnfinishedSuffix) {
			continue
		}
		if err := t.fs.RemoveAll(t.fs.PathJoin(t.root, name)); err != nil {
			return err
		}
	}
	return nil
}
