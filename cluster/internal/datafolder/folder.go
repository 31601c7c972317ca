// Package datafolder manages the data folder of one node: its lock, its layout, and its file node.json, which holds the
// node's identity.
//
// Its invariant: a node never runs under an id without the votes and the log of that id. So an empty folder gets a new
// id, and a folder that lacks a part of a member is refused.
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
	IdentityFile    = "node.json" // an Identity
	VotesFile       = "raft.db"   // raft's term and vote, see package raftlog
	LogFolder       = "log"       // raft's log, see package raftlog
	TablesFolder    = "tables"    // the state machine, see package tables
	SnapshotsFolder = "snapshots" // raft's snapshots, see package snapshot
	ProbeFile       = "probe"     // written to an idle disk, to see whether it answers
	lockFile        = "LOCK"

	folderFormat     = 2       // format of node.json
	maxIdentityBytes = 1 << 20 // greatest size of node.json
)

// Identity is the content of node.json.
type Identity struct {
	Format  int    `json:"format"`
	ID      string `json:"id"`
	Cluster string `json:"cluster,omitempty"` // id of the cluster that the node belongs to, in hex
	// Member says that raft has run, or is about to run, in this folder. It is written once raft.db exists and before raft
	// starts. From then on this node may have voted, so a folder without raft.db has lost votes and is refused.
	Member bool `json:"member,omitempty"`
	// UnusableReason is the reason why no node may run on this folder any more; empty: none. Its tables differ from the log.
	UnusableReason string `json:"unusable,omitempty"`
	// Founding is the first configuration of the cluster, from the decision to found it until it is in the log. A start
	// after a crash in between completes the founding.
	Founding []peerwire.Peer `json:"founding,omitempty"`
	// Checksum is the XXH64, in hex, of the other fields as JSON. Older builds wrote none.
	Checksum string `json:"checksum,omitempty"`
}

// checksum computes Checksum from the other fields.
func (i Identity) checksum() (string, error) {
	i.Checksum = ""
	text, err := json.Marshal(i)
	return disk.FormatChecksum(xxhash.Sum64(text)), err
}

// decodeIdentity decodes text, the content of node.json; path is for errors. A wrong checksum is a disk.DamageError,
// since the node could otherwise run under an id that is not its own.
func decodeIdentity(path string, text []byte) (own Identity, err error) {
	err = json.Unmarshal(text, &own)
	if err == nil && own.Format != folderFormat && own.Checksum == "" {
		return own, fmt.Errorf("%s has format %d, this build knows %d: run the build that wrote it",
			path, own.Format, folderFormat)
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
		return own, fmt.Errorf("%s has format %d, this build knows %d: run the build that wrote it",
			path, own.Format, folderFormat)
	}
	return own, nil
}

// Folder is the data folder of one node, open.
type Folder struct {
	Dir      string    // path of the folder; "": not on the operating system's file system
	FS       vfs.FS    // file system of the files; nil: the node stores nothing
	lock     io.Closer // lock of this process on the folder; nil: none is needed
	Identity Identity
}

// Open locks the folder at dir for this process and reads its identity. It makes the folder and a new identity if there are
// none. If dir is "", the node stores its files on memory, or nothing if memory is nil.
//
// It returns an error if another process has locked the folder or this user may not write it, if the folder is marked as
// unusable, and if it lacks a part that a member must have. A damaged node.json is a disk.DamageError.
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
		// Otherwise a loss of power could take the folder's own name, with all that is synced in it. A folder above that this user
		// may not read was made by another, before.
		if err := disk.SyncFolder(vfs.Default, filepath.Dir(dir)); err != nil && !errors.Is(err, iofs.ErrPermission) {
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

// explainLockError returns an error with advice, which differs between a folder that this user may not write and a folder
// that another process has locked.
func explainLockError(dir string, err error) error {
	if errors.Is(err, iofs.ErrPermission) && !errors.Is(err, syscall.EAGAIN) {
		return fmt.Errorf("data folder %s cannot be written by this user: "+
			"give the folder and all in it to the user that runs this node: %w", dir, err)
	}
	return fmt.Errorf("data folder %s is in use by another process: "+
		"stop that process first, or give this node a folder of its own: %w", dir, err)
}

// readIdentity reads node.json, or writes a new identity if the folder is empty.
func (f *Folder) readIdentity() error {
	votesMissing, err := f.isMissing(VotesFile)
	if err != nil {
		return err
	}
	text, err := disk.ReadFile(f.FS, f.PathOf(IdentityFile), maxIdentityBytes)
	if errors.Is(err, iofs.ErrNotExist) {
		if left := f.leftoverFile(); left != "" {
			return fmt.Errorf("data folder %s has %s but no %s, so the folder does not say whose it is: %s",
				f.Dir, left, IdentityFile, RejoinAdvice(f.Dir))
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

// leftoverFile returns the name of a part of a member that exists in the folder, "" if there is none. A part that cannot be
// looked at counts as existing.
func (f *Folder) leftoverFile() string {
	for _, name := range []string{VotesFile, LogFolder, TablesFolder, SnapshotsFolder} {
		if missing, err := f.isMissing(name); !missing || err != nil {
			return name
		}
	}
	return ""
}

// NewUnusableError returns the error of a folder with wrong tables. A node stops with it, and every later start on the
// folder ends with it. The node can get right tables only from other nodes and under a new id: under the old id it may have
// acknowledged entries on the basis of wrong tables.
func NewUnusableError(dir, why string) error {
	return fmt.Errorf("%w: data folder %s is unusable: %s; empty the folder and start it again, "+
		"and it joins under a new id and gets its tables from the other nodes", disk.ErrFailed, dir, why)
}

// RejoinAdvice returns advice for the operator of a node that must not continue on its data folder dir.
func RejoinAdvice(dir string) string {
	return fmt.Sprintf("stop this node, move the data folder %s aside and start the node with an empty one: "+
		"it joins under a new id (if it is the only node, or more than half of the nodes are in this state, "+
		"first read \"When a file is damaged\" in docs/operate.md)", dir)
}

// NewMissingPartError returns the error of a member's folder that may lack votes or entries. problem is a clause such as
// "its file raft.db is missing".
func NewMissingPartError(dir, problem string) error {
	return fmt.Errorf("data folder %s was a member of a cluster, but %s: it may have forgotten votes and saves, "+
		"so it must not go on under its old id: %s", dir, problem, RejoinAdvice(dir))
}

// WriteIdentity replaces node.json and sets f.Identity. It is synced when WriteIdentity returns nil. After a crash or an
// error node.json is either the old or the new one.
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

// PathOf returns the path on f.FS of a part of the folder.
func (f *Folder) PathOf(name string) string {
	if f.Dir == "" {
		return name
	}
	return filepath.Join(f.Dir, name)
}

// DiskBytes returns the size of all files in the part name of the folder, 0 if the folder is not on the operating
// system's file system.
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

// Close releases the lock of the folder.
func (f *Folder) Close() error {
	if f.lock == nil {
		return nil
	}
	return f.lock.Close()
}

// NewID returns 128 random bits, in hex.
func NewID() string {
	var id [16]byte
	rand.Read(id[:])
	return hex.EncodeToString(id[:])
}
