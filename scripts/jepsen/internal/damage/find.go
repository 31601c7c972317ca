// Package damage harms the files of a node that is stopped, as disks harm them at rest: bits flip, chunks land in a wrong place,
// parts fall back to what they held before, tails are lost.
package damage

import (
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// Kind is what a file is for.
type Kind string

const (
	Log      Kind = "log"      // raft's log: entries
	Tables   Kind = "tables"   // the live tables: rows
	Snapshot Kind = "snapshot" // a snapshot's tables
	Votes    Kind = "votes"    // raft's term and vote
	Manifest Kind = "manifest" // the lists of the files of log and tables
	Meta     Kind = "meta"     // the node's identity, the name of the live tables, what a snapshot says of itself
)

// Kinds are all kinds.
func Kinds() []Kind { return []Kind{Log, Tables, Snapshot, Votes, Manifest, Meta} }

// Find lists the files of a node's data folder by their kind, each list sorted. Files that hold nothing are left out, and so are those
// that a node can do without: locks, probes, options.
func Find(folder string) (map[Kind][]string, error) {
	found := map[Kind][]string{}
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(folder, path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil || info.Size() == 0 {
			return err
		}
		if kind, ok := kindOf(filepath.ToSlash(name)); ok {
			found[kind] = append(found[kind], path)
		}
		return nil
	})
	for _, files := range found {
		slices.Sort(files)
	}
	return found, err
}

// kindOf returns the kind of a file by its path in the data folder.
func kindOf(name string) (Kind, bool) {
	parts := strings.Split(name, "/")
	base := parts[len(parts)-1]
	rows := strings.HasSuffix(base, ".sst") || strings.HasSuffix(base, ".log")
	switch {
	case name == "raft.db":
		return Votes, true
	case name == "node.json" || name == "tables/CURRENT":
		return Meta, true
	case parts[0] == "log" && rows:
		return Log, true
	case parts[0] == "tables" && rows:
		return Tables, true
	case (parts[0] == "log" || parts[0] == "tables") && strings.HasPrefix(base, "MANIFEST-"):
		return Manifest, true
	case parts[0] == "snapshots" && len(parts) == 3: // meta.json and its copy
		return Meta, true
	case parts[0] == "snapshots" && len(parts) > 3 && (rows || strings.HasPrefix(base, "MANIFEST-")):
		return Snapshot, true
	}
	return "", false
}
