package cluster

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"github.com/profilenode/profilenode/cluster/internal/datafolder"
	"github.com/profilenode/profilenode/cluster/internal/disk"
	"github.com/profilenode/profilenode/cluster/internal/peerwire"
	"github.com/profilenode/profilenode/cluster/internal/tables"
)

// Refusals: the command was not applied, and this call will not cause it to be.
var (
	// ErrBusy: too many commands wait already, or the call ended while its command still waited. Try again later.
	ErrBusy = errors.New("too many commands wait to be proposed")
	// ErrNoSpace: the disks of too many nodes are nearly full, so only saves that end their session are accepted. Free
	// some space there; try again later.
	ErrNoSpace = errors.New("the nodes whose disks have space left are no majority")
	// ErrUnconfirmed: a confirmation round did not succeed just now. Try again, or ask another node.
	ErrUnconfirmed = errors.New("this node could not confirm that it leads")
	// ErrClosed: this node is stopping. Ask another node.
	ErrClosed = tables.ErrClosed
)

// Not refusals: the command may have been applied.
var (
	// ErrUnknown: the command may have been applied, or may be later. Ask again under the same request number.
	ErrUnknown = errors.New("the outcome is unknown")
	// ErrFailed: this node is broken, for instance its disk, and stops. Ask another node; this is something to page an
	// operator for.
	ErrFailed = disk.ErrFailed
)

// NotLeaderError is a refusal: this node does not lead. Ask Leader under the same request number.
type NotLeaderError struct {
	Leader string // client address; "" if this node knows of no leader
}

func (e *NotLeaderError) Error() string {
	if e.Leader == "" {
		return "this node does not lead, and knows of no leader"
	}
	return "this node does not lead; the leader is at " + e.Leader
}

// isRefusal reports whether an error of classifyProposeError means that the command was not applied.
func isRefusal(err error) bool {
	var elsewhere *NotLeaderError
	return errors.As(err, &elsewhere) || errors.Is(err, ErrBusy)
}

// HandshakeLog logs failed TLS handshakes. A node's port for clients logs them in the same words as its port for nodes.
type HandshakeLog = peerwire.HandshakeLog

// ErrSpeaksTLS is the cause of a failed handshake on a port without TLS.
var ErrSpeaksTLS = peerwire.ErrSpeaksTLS

// SpeaksTLS reports whether the first bytes of a connection begin a TLS handshake.
func SpeaksTLS(first []byte) bool { return peerwire.SpeaksTLS(first) }

// ErrDiskFull is in the error of a node that stopped, or did not start, for want of disk space.
var ErrDiskFull = errors.New("the disk is full")

// diskFullError is such an error. Its cause tells a node that measured too little space from one whose disk refused a write.
type diskFullError struct {
	error
	cause string
}

func (e *diskFullError) Unwrap() error        { return e.error }
func (e *diskFullError) Is(target error) bool { return target == ErrDiskFull }

// failIn returns fail for the faults of one part of the data folder.
func failIn(part string, fail func(error)) func(error) {
	return func(err error) { fail(&partError{err, part}) }
}

// partError is the fault of a part of the data folder: log, votes or tables.
type partError struct {
	error
	part string
}

func (e *partError) Unwrap() error { return e.error }

// stopCause returns the cause that stops a node, and the part of the data folder that it met, for programs that read the log.
func stopCause(err error) (cause, part string) {
	var full *diskFullError
	var of *partError
	cause = "FAULT"
	if errors.As(err, &full) {
		cause = full.cause
	} else if errors.Is(err, ErrDiskHangs) {
		cause = "DISK_HANGS"
	}
	if errors.As(err, &of) {
		part = of.part
	}
	return cause, part
}

// rebuildAdvice says how a node goes on that has lost its tables alone.
func rebuildAdvice(dir, tables string) string {
	return fmt.Sprintf("stop this node, move the folder %s aside and start the node again: it builds the tables from its newest snapshot and its log; "+
		"if that ends with an error like this one, %s", tables, datafolder.RejoinAdvice(dir))
}

// explainDamage makes the error of a damaged file one line that ends with advice.
func (n *Node) explainDamage(err error) error {
	if info := pebble.ExtractDataCorruptionInfo(err); info != nil && !disk.IsDamage(err) {
		err = disk.NewDamageError(info.Path, err)
	}
	var damage *disk.DamageError
	if !errors.As(err, &damage) || errors.Is(err, errAdvised) {
		return err
	}
	advice := datafolder.RejoinAdvice(n.config.Dir)
	if tables := filepath.Join(n.config.Dir, datafolder.TablesFolder); strings.HasPrefix(damage.Path, tables) {
		advice = rebuildAdvice(n.config.Dir, tables)
	}
	line, _, _ := strings.Cut(err.Error(), "\n") // the others are further files with the same fault
	return &advisedError{err, line + ": " + advice}
}

// advisedError is an error whose text says what to do.
type advisedError struct {
	cause error
	text  string
}

func (e *advisedError) Error() string        { return e.text }
func (e *advisedError) Unwrap() error        { return e.cause }
func (e *advisedError) Is(target error) bool { return target == errAdvised }

// errAdvised is what errors.Is finds in an advisedError.
var errAdvised = errors.New("the error says what to do")
