// Package datafolder is the data folder of one node: its lock, its layout, and its file node.json, which says whose folder it
// is. A folder that holds nothing gets a new id: an id without its votes must never come back.
package datafolder

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/profilenode/profilenode/cluster/internal/disk"
	"github.com/profilenode/profilenode/cluster/internal/peerwire"
)

// The parts of a data folder.
const (
	IdentityFile    = "node.json"
	VotesFile       = "raft.db"
	LogFolder       = "log"
	TablesFolder    = "tables"
	SnapshotsFolder = "snapshots"
	ProbeFile       = "probe" // written to an idle disk, to see whether it answers
	lockFile        = "LOCK"

	folderFormat     = 1       // of node.json
	maxIdentityBytes = 1 << 20 // of node.json
)

// Identity is the content of node.json.
type Identity struct {
	Format  int    `json:"format"`
	ID      string `json:"id"`
	Cluster string `json:"cluster,omitempty"` // hex; the cluster it belongs to
	// Member is written once raft.db exists and before raft first runs on it: from then on this node may have voted, and
	// a folder without raft.db has forgotten it.
	Member bool `json:"member,omitempty"`
	// UnusableReason is why this folder must never speak again: its tables differ from the log.
	UnusableReason string `json:"condemned,omitempty"`
	// Founding is the first configuration, while this node is about to write it to its log.
	Founding []peerwire.Peer `json:"found,omitempty"`
	// Checksum is the XXH64, in hex, of the other fields as JSON. Builds that do not know it write none.
	Checksum string `json:"checksum,omitempty"`
}

// checksum returns the Checksum that fits the other fields.
func (i Identity) checksum() (string, error) {
	i.Checksum = ""
	text, err := json.Marshal(i)
	return disk.FormatChecksum(xxhash.Sum64(text)), err
}

// decodeIdentity reads node.json, which lies at path. An identity whose checksum is wrong is damaged: the node would go on
// under an id that is not its own.
func decodeIdentity(path string, text []byte) (own Identity, err error) {
	err = json.Unmarshal(text, &own)
	if err == nil && own.Format != folderFormat && own.Checksum == "" {
		return own, fmt.Errorf("%s has format %d, this build knows %d: run the build that wrote it", path, own.Format, folderFormat)
	}
	if err == nil && own.ID == "" {
		err = errors.New("it holds no id")
	}
	if err == nil && own.Checksum != "" {
		var want string
		if want, err = own.checksum(); err == nil && want != own.Checksum {
			err = fmt.Errorf("its checksum is %s, and that of its content is %s", own.Checksum, want)
		}
	}
	if err != nil {
		return own, disk.NewDamageError(path, fmt.Errorf("it does not say whose folder this is: %w", err))
	}
	if own.Format != folderFormat {
		return own, fmt.Errorf("%s has format %d, this build knows %d: run the build that wrote it", path, own.Format, folderFormat)
	}
	return own, nil
}

// Folder is the data folder of one node, open.
type Folder struct {
	Dir      string // "": in memory
	FS       vfs.FS // that the files lie on, under dir; nil: the node keeps nothing
	lock     io.Closer
	Identity Identity
}

// Open locks the folder at dir for this process and reads its identity. An empty dir stands for a node in memory, which
// keeps its files on memory, or nothing where that is nil.
func Open(dir string, memory vfs.FS) (*Folder, error) {
	f := &Folder{Dir: dir, FS: memory, Identity: Identity{Format: folderFormat}}
	if dir == "" && memory == nil {
		f.Identity.ID = NewID()
		return f, nil
	}
	if dir != "" {
		f.FS = vfs.Default
		if err := os.MkdirAll(dir, 0o700); errors.Is(err, iofs.ErrPermission) {
			return nil, explainLockError(dir, err)
		} else if err != nil {
			return nil, fmt.Errorf("open data folder: %w", err)
		}
		var err error
		if f.lock, err = vfs.Default.Lock(f.PathOf(lockFile)); err != nil {
			return nil, explainLockError(dir, err)
		}
	}
	if err := f.readIdentity(); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// explainLockError tells a folder that this process may not write from one that another process has.
func explainLockError(dir string, err error) error {
	if errors.Is(err, iofs.ErrPermission) && !errors.Is(err, syscall.EAGAIN) {
		return fmt.Errorf("data folder %s cannot be written by this user: give the folder and all in it to the user that runs this node: %w", dir, err)
	}
	return fmt.Errorf("data folder %s is in use by another process: stop that process first, or give this node a folder of its own: %w", dir, err)
}

func (f *Folder) readIdentity() error {
	votesMissing, err := f.isMissing(VotesFile)
	if err != nil {
		return err
	}
	text, err := disk.ReadFile(f.FS, f.PathOf(IdentityFile), maxIdentityBytes)
	if errors.Is(err, iofs.ErrNotExist) {
		if left := f.leftoverFile(); left != "" {
			return fmt.Errorf("data folder %s has %s but no %s, so the folder does not say whose it is: %s", f.Dir, left, IdentityFile, RejoinAdvice(f.Dir))
		}
		own := f.Identity
		own.ID = NewID()
		return f.WriteIdentity(own)
	}
	if err != nil {
		return fmt.Errorf("open data folder: %w", err)
	}
	if f.Identity, err = decodeIdentity(f.PathOf(IdentityFile), text); err != nil {
		return err
	}
	if f.Identity.UnusableReason != "" {
		return NewUnusableError(f.Dir, f.Identity.UnusableReason)
	}
	if f.Identity.Member && votesMissing {
		return NewMissingPartError(f.Dir, "its file "+VotesFile+" is missing")
	}
	return nil
}

func (f *Folder) isMissing(name string) (bool, error) {
	if _, err := f.FS.Stat(f.PathOf(name)); errors.Is(err, iofs.ErrNotExist) {
		return true, nil
	} else if err != nil {
		return false, fmt.Errorf("open data folder: %w", err)
	}
	return false, nil
}

// leftoverFile is a file or folder in a data folder without an identity; "" if there is none.
func (f *Folder) leftoverFile() string {
	for _, name := range []string{VotesFile, LogFolder, TablesFolder, SnapshotsFolder} {
		if missing, err := f.isMissing(name); !missing || err != nil {
			return name
		}
	}
	return ""
}

// NewUnusableError is the error with which a node with wrong tables stops, and with which its folder is refused at every
// later start. Right tables come only from another node, to a new id: the old id may have acknowledged entries on the
// basis of the wrong ones.
func NewUnusableError(dir, why string) error {
	return fmt.Errorf("%w: data folder %s is condemned: %s; empty the folder and start it again, and it joins under a new id and gets its tables from the other nodes", disk.ErrFailed, dir, why)
}

// RejoinAdvice says how a node goes on that must not go on with its data folder.
func RejoinAdvice(dir string) string {
	return fmt.Sprintf("stop this node, move the data folder %s aside and start the node with an empty one: it joins under a new id "+
		"(if it is the only node, or more than half of the nodes are in this state, first read \"When a file is damaged\" in docs/operate.md)", dir)
}

// NewMissingPartError is the refusal of a folder that does not hold all that it acknowledged.
func NewMissingPartError(dir, how string) error {
	return fmt.Errorf("data folder %s was a member of a cluster, but %s: it may have forgotten votes and saves, so it must not go on under its old id: %s", dir, how, RejoinAdvice(dir))
}

// WriteIdentity replaces node.json so that after a crash either the old or the new one is there.
func (f *Folder) WriteIdentity(own Identity) error {
	if f.FS != nil {
		sum, err := own.checksum()
		if err != nil {
			return fmt.Errorf("write %s: %w", IdentityFile, err)
		}
		own.Checksum = sum
		text, err := json.MarshalIndent(own, "", "  ")
		if err == nil {
			err = disk.WriteFile(f.FS, f.PathOf(IdentityFile), append(text, '\n'))
		}
		if err != nil {
			return fmt.Errorf("write %s: %w", IdentityFile, err)
		}
	}
	f.Identity = own
	return nil
}

// PathOf is the path of a file of the folder, on f.fs.
func (f *Folder) PathOf(name string) string {
	if f.Dir == "" {
		return name
	}
	return filepath.Join(f.Dir, name)
}

// DiskBytes is the size of all files in a folder of this one, 0 if they are not on the disk.
func (f *Folder) DiskBytes(name string) uint64 {
	if f.Dir == "" {
		return 0
	}
	var bytes uint64
	_ = filepath.WalkDir(f.PathOf(name), func(_ string, entry iofs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return nil // the file was deleted in the meantime
		}
		if info, err := entry.Info(); err == nil {
			bytes += uint64(info.Size())
		}
		return nil
	})
	return bytes
}

func (f *Folder) Close() error {
	if f.lock == nil {
		return nil
	}
	return f.lock.Close()
}

// NewID returns 128 random bits, in hex. No two are equal.
func NewID() string {
	var id [16]byte
	rand.Read(id[:])
	return hex.EncodeToString(id[:])
}
