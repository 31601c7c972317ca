package cluster

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

// A data folder belongs to one node: node.json has its id, raft.db its votes, log its entries. A
// folder that holds nothing gets a new id: an id without its votes must never come back.
const (
	folderFormat = 1
	identityFile = "node.json"
	votesFile    = "raft.db"
	logFolder    = "log"
	lockFile     = "LOCK"

	tablesFolder    = "tables"
	snapshotsFolder = "snapshots"
)

// identity is the content of node.json.
type identity struct {
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
func (i identity) checksum() (string, error) {
	i.Checksum = ""
	text, err := json.Marshal(i)
	return formatChecksum(xxhash.Sum64(text)), err
}

// decodeIdentity reads node.json, which lies at path. An identity whose checksum is wrong is damaged: the node would go on
// under an id that is not its own.
func decodeIdentity(path string, text []byte) (own identity, err error) {
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

type folder struct {
	dir      string // "": in memory
	fs       vfs.FS // in memory: a file system that outlives the node; nil: none
	lock     io.Closer
	identity identity
}

// openFolder locks the folder for this process and reads its identity.
func openFolder(c Config) (*folder, error) {
	if c.Memory && c.FS != nil {
		return openMemoryFolder(c.FS)
	}
	dir := c.Dir
	f := &folder{dir: dir, identity: identity{Format: folderFormat}}
	if dir == "" {
		f.identity.ID = newID()
		return f, nil
	}
	if err := os.MkdirAll(dir, 0o700); errors.Is(err, iofs.ErrPermission) {
		return nil, explainLockError(dir, err)
	} else if err != nil {
		return nil, fmt.Errorf("open data folder: %w", err)
	}
	var err error
	if f.lock, err = vfs.Default.Lock(filepath.Join(dir, lockFile)); err != nil {
		return nil, explainLockError(dir, err)
	}
	if err := f.readIdentity(); err != nil {
		_ = f.close()
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

func (f *folder) readIdentity() error {
	votesMissing := false
	if _, err := os.Stat(f.pathOf(votesFile)); errors.Is(err, os.ErrNotExist) {
		votesMissing = true
	} else if err != nil {
		return fmt.Errorf("open data folder: %w", err)
	}
	text, err := os.ReadFile(f.pathOf(identityFile))
	if errors.Is(err, os.ErrNotExist) {
		if left := f.leftoverFiles(); left != "" {
			return fmt.Errorf("data folder %s has %s but no %s, so the folder does not say whose it is: %s", f.dir, left, identityFile, rejoinAdvice(f.dir))
		}
		own := f.identity
		own.ID = newID()
		return f.writeIdentity(own)
	}
	if err != nil {
		return fmt.Errorf("open data folder: %w", err)
	}
	if f.identity, err = decodeIdentity(f.pathOf(identityFile), text); err != nil {
		return err
	}
	if f.identity.UnusableReason != "" {
		return errFolderUnusable(f.dir, f.identity.UnusableReason)
	}
	if f.identity.Member && votesMissing {
		return errMissingFile(f.dir, "its file "+votesFile+" is missing")
	}
	return nil
}

// leftoverFiles are the files in a folder without an identity; "" if it is empty.
func (f *folder) leftoverFiles() string {
	for _, name := range []string{votesFile, logFolder, tablesFolder, snapshotsFolder} {
		if _, err := os.Stat(f.pathOf(name)); !errors.Is(err, os.ErrNotExist) {
			return name
		}
	}
	return ""
}

// rejoinAdvice says how a node goes on that must not go on with its data folder.
func rejoinAdvice(dir string) string {
	return fmt.Sprintf("stop this node, move the data folder %s aside and start the node with an empty one: it joins under a new id "+
		"(if it is the only node, or more than half of the nodes are in this state, first read \"When a file is damaged\" in docs/operate.md)", dir)
}

// errMissingFile is the refusal of a folder that does not hold all that it acknowledged.
func errMissingFile(dir, how string) error {
	return fmt.Errorf("data folder %s was a member of a cluster, but %s: it may have forgotten votes and saves, so it must not go on under its old id: %s", dir, how, rejoinAdvice(dir))
}

// writeIdentity replaces node.json so that after a crash either the old or the new one is there.
func (f *folder) writeIdentity(own identity) error {
	if f.dir == "" && f.fs == nil {
		f.identity = own
		return nil
	}
	sum, err := own.checksum()
	if err != nil {
		return fmt.Errorf("write %s: %w", identityFile, err)
	}
	own.Checksum = sum
	text, err := json.MarshalIndent(own, "", "  ")
	if err == nil && f.fs != nil {
		err = disk.WriteFile(f.fs, identityFile, text)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", identityFile, err)
	}
	if f.fs != nil {
		f.identity = own
		return nil
	}
	next := f.pathOf(identityFile + ".next")
	if err := writeSynced(next, append(text, '\n')); err != nil {
		return fmt.Errorf("write %s: %w", identityFile, err)
	}
	if err := os.Rename(next, f.pathOf(identityFile)); err != nil {
		return fmt.Errorf("write %s: %w", identityFile, err)
	}
	if err := syncDir(f.dir); err != nil {
		return fmt.Errorf("write %s: %w", identityFile, err)
	}
	f.identity = own
	return nil
}

func writeSynced(path string, text []byte) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	return errors.Join(err, file.Sync(), file.Close())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (f *folder) pathOf(name string) string { return filepath.Join(f.dir, name) }

func (f *folder) close() error {
	if f.lock == nil {
		return nil
	}
	return f.lock.Close()
}

// newID is never used twice; 128 random bits, in hex.
func newID() string { return hex.EncodeToString(randomBytes16()) }

func randomBytes16() []byte {
	var id [16]byte
	rand.Read(id[:])
	return id[:]
}
