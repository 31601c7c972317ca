//go:build unix

package client

import (
	"errors"
	"syscall"
)

// disableAddressReuse clears SO_REUSEADDR, which package net sets on every listener.
func disableAddressReuse(_, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) { failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 0) })
	return errors.Join(err, failed)
}
