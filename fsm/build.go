package fsm

import (
	"cmp"
	"errors"
	"fmt"
	iofs "io/fs"
	"strconv"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/atomicfs"
)

// Build says what a build of this program can apply and read. The zero value is this build; tests make others.
type Build struct {
	Level      uint32                                       // the highest level that it applies; 0: Level
	FileFormat func(level uint32) pebble.FormatMajorVersion // the format of Pebble's files at a level; nil: that of fileFormats
}

// fileFormats holds the format of Pebble's files at each level. It is written out, and not pebble.FormatNewest: a build with
// another minor version of Pebble must write files that the build before it reads, for as long as the cluster has not risen to a
// level that only the new build applies. A format never goes back.
var fileFormats = [Level + 1]pebble.FormatMajorVersion{FirstLevel: pebble.FormatValueSeparation}

// HighestLevel returns the highest level that the build applies.
func (b Build) HighestLevel() uint32 { return cmp.Or(b.Level, Level) }

// FormatAt returns the format of Pebble's files in a cluster at a level; 0 is that of a cluster which is not founded yet.
func (b Build) FormatAt(level uint32) pebble.FormatMajorVersion {
	level = max(level, FirstLevel)
	if b.FileFormat != nil {
		return b.FileFormat(level)
	}
	return fileFormats[min(level, Level)]
}

// CheckReads returns ErrOldBuild, with what is too new, unless the build reads tables of that level in files of that format.
func (b Build) CheckReads(level uint32, format pebble.FormatMajorVersion) error {
	if highest := b.HighestLevel(); level > highest {
		return fmt.Errorf("they are of level %d, this build knows %d: %w", level, highest, ErrOldBuild)
	}
	if newest := b.FormatAt(b.HighestLevel()); format > newest {
		return fmt.Errorf("their files have Pebble's format %d, this build knows %d: %w", format, newest, ErrOldBuild)
	}
	return nil
}

// CheckFolder returns ErrOldBuild unless the build reads the files of Pebble in dir. It must be called before Pebble opens the
// folder, since Pebble's own error for a format that it does not know is that of a damaged folder.
func (b Build) CheckFolder(fs vfs.FS, dir string) error {
	format, err := ReadFileFormat(fs, dir)
	if err != nil {
		return err
	}
	return b.CheckReads(0, format)
}

// ReadFileFormat returns the format of the files of Pebble in dir, 0 if there are none.
func ReadFileFormat(fs vfs.FS, dir string) (pebble.FormatMajorVersion, error) {
	text, err := atomicfs.ReadMarker(fs, dir, "format-version")
	if errors.Is(err, iofs.ErrNotExist) || err == nil && text == "" {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the format of the files in %s: %w", dir, err)
	}
	format, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("read the format of the files in %s: %w", dir, err)
	}
	return pebble.FormatMajorVersion(format), nil
}
