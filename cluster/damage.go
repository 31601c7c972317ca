package cluster

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
)

// damagedError says that a file or a folder does not hold what was written to it.
type damagedError struct {
	path  string
	cause error
}

func (e *damagedError) Error() string { return fmt.Sprintf("%s is damaged: %v", e.path, e.cause) }
func (e *damagedError) Unwrap() error { return e.cause }

// asDamage returns the error of opening path as damage, unless the error of a system call is its cause: then the disk or
// its permissions failed, and the content may be whole. A missing file is damage: a store names the files that it needs.
func asDamage(path string, err error) error {
	var errno syscall.Errno
	missing := errors.Is(err, iofs.ErrNotExist)
	switch {
	case err == nil, isDamage(err):
		return err
	case errors.As(err, &errno) && !missing:
		return err
	case strings.Contains(err.Error(), "unknown format major version"): // a newer build wrote it
		return err
	}
	return &damagedError{path, err}
}

func isDamage(err error) bool {
	var damage *damagedError
	return errors.As(err, &damage)
}

// rejoinAdvice says how a node goes on that must not go on with its data folder.
func rejoinAdvice(dir string) string {
	return fmt.Sprintf("stop this node, move the data folder %s aside and start the node with an empty one: it joins under a new id "+
		"(if it is the only node, or more than half of the nodes are in this state, first read \"When a file is damaged\" in docs/operate.md)", dir)
}

// rebuildAdvice says how a node goes on that has lost its tables alone.
func rebuildAdvice(dir, tables string) string {
	return fmt.Sprintf("stop this node, move the folder %s aside and start the node again: it builds the tables from its newest snapshot and its log; "+
		"if that ends with an error like this one, %s", tables, rejoinAdvice(dir))
}

// explainDamage makes the error of a damaged file one line that ends with advice.
func (n *Node) explainDamage(err error) error {
	if info := pebble.ExtractDataCorruptionInfo(err); info != nil && !isDamage(err) {
		err = &damagedError{info.Path, err}
	}
	var damage *damagedError
	if !errors.As(err, &damage) || errors.Is(err, errAdvised) {
		return err
	}
	advice := rejoinAdvice(n.config.Dir)
	if tables := filepath.Join(n.config.Dir, tablesFolder); strings.HasPrefix(damage.path, tables) {
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
