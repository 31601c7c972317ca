//go:build !linux

// Package groups puts processes into a control group of their own. It takes Linux.
package groups

import "errors"

var errNotHere = errors.New("control groups are Linux's")

// Group is a control group.
type Group struct{}

// New prepares a group.
func New(string) *Group { return &Group{} }

// ProbeCPU is an error here.
func ProbeCPU() error { return errNotHere }

// ProbeMemory is an error here.
func ProbeMemory() error { return errNotHere }

// ProbeFreezer is an error here.
func ProbeFreezer() error { return errNotHere }

// Add is an error here.
func (*Group) Add(int) error { return errNotHere }

// LimitCPU is an error here.
func (*Group) LimitCPU(float64) error { return errNotHere }

// LimitMemory is an error here.
func (*Group) LimitMemory(int64) error { return errNotHere }

// MemoryUsage is an error here.
func (*Group) MemoryUsage() (int64, error) { return 0, errNotHere }

// MemoryKills is an error here.
func (*Group) MemoryKills() (int, error) { return 0, errNotHere }

// Freeze is an error here.
func (*Group) Freeze() error { return errNotHere }

// Thaw is an error here.
func (*Group) Thaw() error { return errNotHere }

// KillAll is an error here.
func (*Group) KillAll() error { return errNotHere }

// Close does nothing: there is no group.
func (*Group) Close() error { return nil }
