//go:build !unix

package client_test

import (
	"net"
	"testing"
)

func reuseOf(*testing.T, *net.TCPListener) bool { return false }
