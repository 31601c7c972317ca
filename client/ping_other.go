//go:build !unix

package client

import "syscall"

// noReuse has nothing to do: package net allows reuse on Unix only.
func noReuse(_, _ string, _ syscall.RawConn) error { return nil }
