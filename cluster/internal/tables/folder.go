package tables

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"strconv"
	"strings"

	"github.com/profilenode/profilenode/cluster/internal/disk"
)

// currentFile is the file that names the live folder of tables. It holds one line, the name of a folder beside it.
const currentFile = "CURRENT"

// folderName returns the name of the folder of tables with a number. Each install takes the next number.
func folderName(number uint64) string { return fmt.Sprintf("%06d", number) }

// folderNumber returns the number in a name. It returns false for names that folderName does not make.
func folderNumber(name string) (uint64, bool) {
	number, err := strconv.ParseUint(name, 10, 64)
	return number, err == nil && number > 0 && folderName(number) == name
}

// readCurrent returns the name of the live folder. ok is false if there is no currentFile: no tables were ever made here.
// A file that names no folder, or one that is missing, is a disk.DamageError.
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

// writeCurrent makes the folder name the one that the next start opens. The folder and all in it must be synced. After an
// error currentFile may hold the old name or the new one.
func (t *Store) writeCurrent(name string) error {
	if err := disk.WriteFile(t.fs, t.fs.PathJoin(t.root, currentFile), []byte(name+"\n")); err != nil {
		return fmt.Errorf("name the live tables: %w", err)
	}
	return nil
}

// deleteOtherFolders deletes all folders of tables except keep, and all unfinished files. Other files stay: they are not
// ours. It also sets lastFolder to the highest number that it finds.
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
