package snapshot

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/profilenode/profilenode/cluster/internal/disk"
)

// Meta is the content of a meta file: its first line is a Meta as JSON, its second line is the XXH64 of the first.
type Meta struct {
	Format int               `json:"format"`
	Label  raft.SnapshotMeta `json:"label"`
	contents
}

const (
	metaFile   = "meta.json"
	metaCopy   = "meta-copy.json" // the same: without a label a snapshot whose tables are whole would be lost, and the node with it
	metaFormat = 2
	maxMeta    = 64 << 20 // greatest size of a meta file, in bytes
)

func writeMeta(fs vfs.FS, dir string, meta Meta) error {
	line, err := json.Marshal(meta)
	if err != nil {
		return err
	}
	content := fmt.Appendf(nil, "%s\n%s\n", line, disk.FormatChecksum(xxhash.Sum64(line)))
	return errors.Join(disk.WriteFile(fs, fs.PathJoin(dir, metaFile), content), disk.WriteFile(fs, fs.PathJoin(dir, metaCopy), content))
}

// readMeta reads the meta file of the snapshot in dir. If one of the two files is damaged, it writes both anew from the other.
func (s *Store) readMeta(dir string) (Meta, error) {
	meta, err := readMetaFile(s.fs, s.fs.PathJoin(dir, metaFile))
	copied, errCopy := readMetaFile(s.fs, s.fs.PathJoin(dir, metaCopy))
	switch {
	case err == nil && errCopy == nil:
		return meta, nil
	case err != nil && errCopy != nil:
		return Meta{}, errors.Join(err, errCopy)
	case err != nil:
		meta = copied
	}
	s.log.Warn("one of the two meta files of a snapshot is damaged, and is written anew from the other: look at the disk",
		"code", "SNAPSHOT_DAMAGED", "snapshot", dir, "error", errors.Join(err, errCopy))
	if err := writeMeta(s.fs, dir, meta); err != nil {
		return Meta{}, fmt.Errorf("write the meta files anew: %w", err)
	}
	return meta, nil
}

func readMetaFile(fs vfs.FS, path string) (Meta, error) {
	var meta Meta
	content, err := disk.ReadFile(fs, path, maxMeta)
	if err != nil {
		return meta, err
	}
	line, sum, _ := bytes.Cut(content, []byte("\n"))
	if string(sum) != disk.FormatChecksum(xxhash.Sum64(line))+"\n" {
		return meta, fmt.Errorf("%s is damaged", fs.PathBase(path))
	}
	if err := json.Unmarshal(line, &meta); err != nil {
		return meta, fmt.Errorf("%s: %w", fs.PathBase(path), err)
	}
	if meta.Format != metaFormat {
		return meta, fmt.Errorf("its format is %d, and this build reads %d", meta.Format, metaFormat)
	}
	return meta, nil
}
