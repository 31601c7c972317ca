package disk

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"syscall"
)

// DamageError says that the content of a file or folder is not the content that was written to it.
type DamageError struct {
	Path  string
	Cause error
}

func (e *DamageError) Error() string { return fmt.Sprintf("%s is damaged: %v", e.Path, e.Cause) }
func (e *DamageError) Unwrap() error { return e.Cause }

// NewDamageError returns a DamageError for the file or folder at path.
func NewDamageError(path string, cause error) *DamageError {
	return &DamageError{Path: path, Cause: cause}
}

// AsDamage returns err, an error of opening path, as a DamageError. It returns err itself if a system call failed: then
// the disk failed or a permission is missing, and the content may be whole. A missing file is damage nevertheless, since
// the files of a store name each other. The caller must know that the content is not of a newer build.
func AsDamage(path string, err error) error {
	var errno syscall.Errno
	missing := errors.Is(err, iofs.ErrNotExist)
	switch {
	case err == nil, IsDamage(err):
		return err
	case errors.As(err, &errno) && !missing:
		return err
	}
	return NewDamageError(path, err)
}

// IsDamage reports whether err wraps a DamageError.
func IsDamage(err error) bool {
	var damage *DamageError
	return errors.As(err, &damage)
}
