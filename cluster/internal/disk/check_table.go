package disk

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// CheckTable reads the table at path, a file of Pebble, and returns an error if the checksum of one
// of its blocks is wrong.
func CheckTable(fs vfs.FS, path string) error {
	file, err := fs.Open(path, vfs.SequentialReadsOption)
	if err != nil {
		return err
	}
	readable, err := sstable.NewSimpleReadable(file)
	if err != nil {
		return errors.Join(err, file.Close())
	}
	options := &pebble.Options{FS: fs}
	options.EnsureDefaults()
	table, err := sstable.NewReader(context.Background(), readable, options.MakeReaderOptions())
	if err != nil {
		return fmt.Errorf("open table %s: %w", path, errors.Join(err, readable.Close()))
	}
	if err := errors.Join(table.ValidateBlockChecksums(), table.Close()); err != nil {
		return fmt.Errorf("check table %s: %w", path, err)
	}
	return nil
}
