//go:build !linux

package network

import (
	"errors"
	"net/netip"
	"os"
)

var errNotHere = errors.New("network namespaces and TUN devices are Linux's")

type namespace struct{}

func openTUN(netip.Addr, int) (*os.File, error) { return nil, errNotHere }

func openNamespace(netip.Addr, int) (*namespace, *os.File, error) { return nil, nil, errNotHere }

func (n *namespace) run(func() error) error { return errNotHere }

func (n *namespace) close() {}
