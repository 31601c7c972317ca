//go:build !linux

// Package disks gives each node a file system of its own whose disk fails as real ones do. It takes Linux.
package disks

import "errors"

var errNotHere = errors.New("file systems of their own, whose disks fail, are Linux's")

// Disk is a file system of its own.
type Disk struct{}

// Probe is an error here, and so is all else.
func Probe() error { return errNotHere }

// ProbeFreeze is an error here.
func ProbeFreeze() error { return errNotHere }

// ProbeSlow is an error here.
func ProbeSlow() error { return errNotHere }

// ProbeReadOnly is an error here.
func ProbeReadOnly() error { return errNotHere }

// Open is an error here.
func Open(string, int64) (*Disk, error) { return nil, errNotHere }

// OpenInMemory is an error here.
func OpenInMemory(string, int64) (*Disk, error) { return nil, errNotHere }

// UnmountLeftovers finds none: nothing was mounted.
func UnmountLeftovers(string) error { return nil }

// Path is empty: there is no disk.
func (*Disk) Path() string { return "" }

// CutPower is an error here.
func (*Disk) CutPower() error { return errNotHere }

// ReadOnly is an error here.
func (*Disk) ReadOnly() error { return errNotHere }

// Restore is an error here.
func (*Disk) Restore() error { return errNotHere }

// Close is an error here.
func (*Disk) Close() error { return errNotHere }

// Sync is an error here.
func (*Disk) Sync() error { return errNotHere }

// Freeze is an error here.
func (*Disk) Freeze() error { return errNotHere }

// Thaw is an error here.
func (*Disk) Thaw() error { return errNotHere }

// Fill is an error here.
func (*Disk) Fill(uint64) error { return errNotHere }

// Free is an error here.
func (*Disk) Free() error { return errNotHere }

// FillInodes is an error here.
func (*Disk) FillInodes(uint64) error { return errNotHere }

// FreeInodes is an error here.
func (*Disk) FreeInodes() error { return errNotHere }

// Slow is an error here.
func (*Disk) Slow(int, int) error { return errNotHere }

// Fast is an error here.
func (*Disk) Fast() error { return errNotHere }
