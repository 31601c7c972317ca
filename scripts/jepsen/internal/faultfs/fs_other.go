//go:build !linux

package faultfs

import "errors"

var errNotHere = errors.New("a file system that fails when asked is served by FUSE, on Linux")

// FS is a file system that fails when asked.
type FS struct{}

// Probe says why there is no such file system on this machine.
func Probe() error { return errNotHere }

// Open is an error here.
func Open(string) (*FS, error) { return nil, errNotHere }

// Path is empty: there is none.
func (*FS) Path() string { return "" }

// Set does nothing here.
func (*FS) Set(...Rule) {}

// Effects counts nothing here.
func (*FS) Effects() Effects { return Effects{} }

// CutPower does nothing here.
func (*FS) CutPower() {}

// Restore is an error here.
func (*FS) Restore(Loss) error { return errNotHere }

// Close is an error here.
func (*FS) Close() error { return errNotHere }
