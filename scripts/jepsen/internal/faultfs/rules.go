// Package faultfs is a file system that passes everything through to a folder, and fails as no kernel's does when asked: at a loss of
// power it loses every byte and every name that was not synced, or a random part of them; it fails, delays, holds up or lies about a
// sync or a write. It takes Linux, root and /dev/fuse.
//
// What is synced is counted strictly: a file's sync keeps its bytes and its size, and a folder's sync keeps the names in it. Some real
// file systems keep more.
//
// The process that serves a file system must not map its files: a page fault holds a processor of Go's scheduler, and a collection of
// garbage that begins meanwhile waits for it with everything stopped, the server too.
package faultfs

import (
	"strings"
	"syscall"
	"time"
)

// Op is what a rule is about.
type Op string

const (
	Write   Op = "write"   // of bytes, and of a file's size
	Sync    Op = "sync"    // of a file
	SyncDir Op = "syncdir" // of the names in a folder
	Change  Op = "change"  // of a name: a file or folder is made, removed, renamed or linked
)

// Rule says what happens to some operations.
type Rule struct {
	Op    Op
	Path  string // is in the path of the file or folder, which begins below the mount; "": every one
	After int    // so many are let through first
	Count int    // so many are hit then; 0: all

	Delay time.Duration // before anything else
	Hang  bool          // neither an answer nor an error, until the rules change or the power is cut
	// Errno fails the operation. The bytes of a file whose sync failed are gone at the next loss of power, whatever later syncs say:
	// so does Linux, which takes them for written.
	Errno syscall.Errno
	Lie   bool // a sync that succeeds, and keeps nothing
}

// Loss says what a loss of power leaves of what was not synced.
type Loss struct {
	Keep  float64 // chance of each piece of a write to survive; 0: none does
	Piece int     // bytes of a piece: 512 or 4096; 0: 4096
	Seed  uint64
}

// Effects counts what was done so far.
type Effects struct {
	Writes, Syncs, SyncDirs, Changes int // operations that came

	Failed, Delayed, Hung, Lied int // operations that a rule hit, by what it did

	LostPieces, KeptPieces int   // of writes that were not synced, at losses of power
	LostBytes              int64 // in the lost pieces
	LostNames, KeptNames   int   // changes of names that were not synced
}

func (e *Effects) countOp(op Op) {
	switch op {
	case Write:
		e.Writes++
	case Sync:
		e.Syncs++
	case SyncDir:
		e.SyncDirs++
	case Change:
		e.Changes++
	}
}

// activeRule is a Rule in use.
type activeRule struct {
	Rule
	met int
}

// findRule returns the first rule that hits an operation, and counts for each that it was met.
func findRule(rules []*activeRule, op Op, path string) (hit Rule, ok bool) {
	for _, r := range rules {
		if r.Op != op || !strings.Contains(path, r.Path) {
			continue
		}
		r.met++
		if !ok && r.met > r.After && (r.Count == 0 || r.met <= r.After+r.Count) {
			hit, ok = r.Rule, true
		}
	}
	return hit, ok
}
