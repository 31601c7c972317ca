//go:build !unix

package client

import "syscall"

// disableAddressReuse has nothing to do: package net allows reuse on Unix only.
func disableAddressReuse(_, _ string, _ syscall.RawConn) error { return nil }
