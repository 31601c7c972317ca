//go:build !linux

package main

import (
	"errors"
	"net/netip"
	"os/exec"
)

type link struct{ outside, inside netip.Addr }

func openLink() (*link, error) {
	return nil, errors.New("network namespaces and TUN devices are Linux's")
}

func (l *link) start(process *exec.Cmd) error { return process.Start() }
func (l *link) cut()                          {}
func (l *link) heal() (dropped uint64)        { return 0 }
func (l *link) close()                        {}
func (l *link) drop(func([]byte) bool)        {}
func (l *link) lost() uint64                  { return 0 }

type fabric struct{ hosts []*host }

type host struct{ address netip.Addr }

func openFabric(int) (*fabric, error) {
	return nil, errors.New("network namespaces and TUN devices are Linux's")
}

func (h *host) start(process *exec.Cmd) error { return process.Start() }
func (f *fabric) cut(int, int)                {}
func (f *fabric) heal() (dropped uint64)      { return 0 }
func (f *fabric) close()                      {}
