//go:build !linux

package main

import (
	"errors"
	"net/netip"
	"os/exec"
)

type netLink struct{ outside, inside netip.Addr }

func openNetLink() (*netLink, error) {
	return nil, errors.New("network namespaces and TUN devices are Linux's")
}

func (l *netLink) startProcess(process *exec.Cmd) error { return process.Start() }
func (l *netLink) cutAll()                              {}
func (l *netLink) healAll() (dropped uint64)            { return 0 }
func (l *netLink) closeLink()                           {}
func (l *netLink) dropPackets(func([]byte) bool)        {}
func (l *netLink) countDropped() uint64                 { return 0 }

type hostSwitch struct{ hosts []*switchedHost }

type switchedHost struct{ address netip.Addr }

func openHostSwitch(int) (*hostSwitch, error) {
	return nil, errors.New("network namespaces and TUN devices are Linux's")
}

func (h *switchedHost) startProcess(process *exec.Cmd) error { return process.Start() }
func (f *hostSwitch) cutLink(int, int)                       {}
func (f *hostSwitch) healAll() (dropped uint64)              { return 0 }
func (f *hostSwitch) closeAll()                              {}
