package disk

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"strings"
	"syscall"
)

// DamageError says that a file or a folder does not hold what was written to it.
type DamageError struct {
	Path  string
	Cause error
}

func (e *DamageError) Error() string { return fmt.Sprintf("%s is damaged: %v", e.Path, e.Cause) }
func (e *DamageError) Unwrap() error { return e.Cause }

// NewDamageError returns the damage of the file or folder at path.
func NewDamageError(path string, cause error) *DamageError {
	return &DamageError{Path: path, Cause: cause}
}

// AsDamage returns the error of opening path as damage, unless the error of a system call is its cause: then the disk or
// its permissions failed, and the content may be whole. A missing file is damage: a store names the files that it needs.
func AsDamage(path string, err error) error {
	var errno syscall.Errno
	missing := errors.Is(err, iofs.ErrNotExist)
	switch {
	case err == nil, IsDamage(err):
		return err
	case errors.As(err, &errno) && !missing:
		return err
	case strings.Contains(err.Error(), "unknown format major version"): // a newer build wrote it
		return err
	}
	return NewDamageError(path, err)
}

// IsDamage says whether a damaged file or folder is a cause of err.
func IsDamage(err error) bool {
	var damage *DamageError
	return errors.As(err, &damage)
}
