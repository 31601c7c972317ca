//go:build !linux

package network

import (
	"errors"
	"net/netip"
	"os"
)

var errNotHere = errors.New("network namespaces and TUN devices are Linux's")

func openTUN(netip.Addr, int) (*os.File, error) { return nil, errNotHere }

func openNamespace(netip.Addr, int) (*namespace, *os.File, error) { return nil, nil, errNotHere }
