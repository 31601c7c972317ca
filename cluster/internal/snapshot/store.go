// Package snapshot stores raft's snapshots as folders of the files of the tables (store.go, meta.go). It sends a snapshot as a
// stream of its files (stream.go, pack.go, reader.go), receives one as a stream (sink.go, unpack.go), and makes one out
// of a checkpoint of this node's tables (checkpoint.go).
//
// Its invariants: a listed snapshot is complete and synced; a damaged file is never sent with a checksum that fits the
// damage; a snapshot holds no entry beyond its label, the index under which raft lists it.
package snapshot

import (
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/profilenode/profilenode/cluster/internal/disk"
	"github.com/profilenode/profilenode/fsm"
)

const dataFolder = "data"

// Store keeps raft's snapshots. Each is a folder with the files of the tables in data:
//
//	<root>/<term>-<index>-<sequence>/meta.json, meta-copy.json, data/
//
// Term and index are raft's label. The applied row of the tables in it is at most that index, and less if the last entries
// hold no commands. The sequence makes names unique. An unfinished snapshot has a name that ends in disk.UnfinishedSuffix.
type Store struct {
	fs     vfs.FS
	root   string
	retain int // number of the newest snapshots that are kept
	log    *slog.Logger

	// AdmitIncoming decides about a snapshot that another node sends, by its index, before the first byte is stored. An error
	// refuses the snapshot. nil admits all. It must be set before raft starts.
	AdmitIncoming func(index uint64) error

	// Build says which snapshots this node can read. It must be set before raft starts. OnOldBuild, if set, is told of a received
	// one that it cannot, before its files are stored.
	Build      fsm.Build
	OnOldBuild func(error)

	// OnReceived, if set before raft starts, is told how each receipt of a snapshot ends.
	OnReceived func(error)

	// OnDamage, if set before raft starts, is told of each damaged file that is met while a snapshot is read to be sent. file is its
	// name in the snapshot. It must not block.
	OnDamage func(file string, err error)

	mu           sync.Mutex
	snapshots    []*storedSnapshot // the complete snapshots, newest first
	lastSequence uint64            // the highest sequence in use
}

var _ raft.SnapshotStore = (*Store)(nil)

// storedSnapshot is a complete snapshot.
type storedSnapshot struct {
	meta     Meta
	sequence uint64
	readers  int // open readers; the snapshot is not deleted while there are any. Guarded by Store.mu.
}

// Open opens the snapshots in the folder root, and deletes unfinished ones and all but the newest retain. A nil fs is the
// operating system's. A snapshot without a readable meta file is an error: if it were ignored, the node would start from an
// older snapshot, and the log may no longer hold the entries that follow that one. Of a damaged one there is a copy.
func Open(fs vfs.FS, root string, retain int, log *slog.Logger) (*Store, error) {
	if fs == nil {
		fs = vfs.Default
	}
	s := &Store{fs: fs, root: root, retain: max(retain, 1), log: log}
	if err := disk.MakeFolder(fs, s.root); err != nil {
		return nil, fmt.Errorf("make folder of snapshots: %w", err)
	}
	names, err := fs.List(s.root)
	if err != nil {
		return nil, fmt.Errorf("list snapshots: %w", err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, disk.UnfinishedSuffix) {
			if err := fs.RemoveAll(fs.PathJoin(s.root, name)); err != nil {
				return nil, fmt.Errorf("delete unfinished snapshot: %w", err)
			}
			continue
		}
		sequence, ok := sequenceOf(name)
		if !ok {
			continue
		}
		meta, err := s.readMeta(fs.PathJoin(s.root, name))
		if err == nil && meta.Label.ID != name {
			err = fmt.Errorf("it says that it is %s", meta.Label.ID)
		}
		if err != nil {
			return nil, disk.AsDamage(fs.PathJoin(s.root, name, metaFile), fmt.Errorf("read snapshot: %w", err))
		}
		s.snapshots = append(s.snapshots, &storedSnapshot{meta: meta, sequence: sequence})
		s.lastSequence = max(s.lastSequence, sequence)
	}
	s.sortNewestFirst()
	s.deleteOld()
	return s, nil
}

// Create begins a snapshot with the label that raft gives it. The snapshot is listed once the sink is closed.
func (s *Store) Create(
	version raft.SnapshotVersion, index, term uint64,
	configuration raft.Configuration, configurationIndex uint64, _ raft.Transport,
) (raft.SnapshotSink, error) {
	if version != 1 {
		return nil, fmt.Errorf("create snapshot: version %d is not supported", version)
	}
	sequence := s.nextSequence()
	sink := &sink{store: s, sequence: sequence, meta: Meta{
		Format: metaFormat,
		Label: raft.SnapshotMeta{
			Version:            version,
			ID:                 fmt.Sprintf("%d-%d-%d", term, index, sequence),
			Index:              index,
			Term:               term,
			Configuration:      configuration.Clone(),
			ConfigurationIndex: configurationIndex,
		},
	}}
	sink.dir = s.fs.PathJoin(s.root, sink.meta.Label.ID+disk.UnfinishedSuffix)
	if err := s.fs.MkdirAll(sink.dir, 0o700); err != nil {
		return nil, fmt.Errorf("create snapshot: %w", err)
	}
	return sink, nil
}

// List returns the labels of the complete snapshots, newest first.
func (s *Store) List() ([]*raft.SnapshotMeta, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	labels := make([]*raft.SnapshotMeta, 0, len(s.snapshots))
	for _, c := range s.snapshots {
		label := c.meta.Label
		labels = append(labels, &label)
	}
	return labels, nil
}

// Open opens a snapshot for reading, as a stream of exactly the size in its label. The reader is a *Reader. The snapshot
// is not deleted before the reader is closed.
func (s *Store) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.snapshots {
		if c.meta.Label.ID != id {
			continue
		}
		c.readers++
		label := c.meta.Label
		data := s.fs.PathJoin(s.root, id, dataFolder)
		return &label, &Reader{
			packer:   newPacker(s.fs, data, c.meta.contents, s.OnDamage),
			store:    s,
			snapshot: c,
			data:     data,
		}, nil
	}
	return nil, nil, fmt.Errorf("open snapshot %s: there is none", id)
}

// NewScratch returns a new path in this store for a checkpoint that may become a snapshot. The next Open deletes a
// checkpoint that did not.
func (s *Store) NewScratch() string {
	return s.fs.PathJoin(s.root, fmt.Sprintf("checkpoint-%d%s", s.nextSequence(), disk.UnfinishedSuffix))
}

// RemoveScratch deletes the folder at a path that NewScratch returned. It does nothing if the folder was moved into a
// snapshot.
func (s *Store) RemoveScratch(dir string) error { return s.fs.RemoveAll(dir) }

func (s *Store) nextSequence() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastSequence++
	return s.lastSequence
}

func (s *Store) addSnapshot(c *storedSnapshot) {
	s.mu.Lock()
	s.snapshots = append(s.snapshots, c)
	s.sortNewestFirst()
	s.mu.Unlock()
	s.deleteOld()
}

func (s *Store) sortNewestFirst() {
	slices.SortFunc(s.snapshots, func(a, b *storedSnapshot) int {
		switch x, y := a.meta.Label, b.meta.Label; {
		case x.Index != y.Index:
			return compareDescending(x.Index, y.Index)
		case x.Term != y.Term:
			return compareDescending(x.Term, y.Term)
		}
		return compareDescending(a.sequence, b.sequence)
	})
}

func compareDescending(a, b uint64) int {
	if a > b {
		return -1
	}
	return 1
}

// deleteOld deletes all snapshots but the newest retain and those that have readers. Reader.Close calls it again.
func (s *Store) deleteOld() {
	s.mu.Lock()
	var gone []*storedSnapshot
	kept := s.snapshots[:0]
	for i, c := range s.snapshots {
		if i < s.retain || c.readers > 0 {
			kept = append(kept, c)
		} else {
			gone = append(gone, c)
		}
	}
	clear(s.snapshots[len(kept):])
	s.snapshots = kept
	s.mu.Unlock()

	if len(gone) > 0 {
		defer disk.TimeStep(s.log, "delete old snapshots", false)()
	}
	for _, c := range gone {
		path := s.fs.PathJoin(s.root, c.meta.Label.ID)
		// The folder is renamed first, so that a crash during the deletion leaves an unfinished snapshot, not a damaged one.
		err := s.fs.Rename(path, path+disk.UnfinishedSuffix)
		if err == nil {
			err = disk.SyncFolder(s.fs, s.root)
		}
		if err == nil {
			err = s.fs.RemoveAll(path + disk.UnfinishedSuffix)
		}
		if err != nil {
			s.log.Warn("old snapshot was left on disk until the next start", "snapshot", path, "error", err)
		}
	}
}

// sequenceOf returns the sequence in the name of a snapshot. It returns false for names that Create does not make.
func sequenceOf(name string) (uint64, bool) {
	var term, index, sequence uint64
	if _, err := fmt.Sscanf(name, "%d-%d-%d", &term, &index, &sequence); err != nil {
		return 0, false
	}
	return sequence, fmt.Sprintf("%d-%d-%d", term, index, sequence) == name
}
