//go:build unix

package client_test

import (
	"net"
	"syscall"
	"testing"
)

func reuseOf(t *testing.T, l *net.TCPListener) (set bool) {
	t.Helper()
	raw, err := l.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var value int
	var failed error
	if err := raw.Control(func(fd uintptr) {
		value, failed = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR)
	}); err != nil || failed != nil {
		t.Fatal(err, failed)
	}
	return value != 0
}
