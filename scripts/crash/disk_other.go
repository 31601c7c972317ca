//go:build unix && !linux

package main

import "errors"

var errNoLinux = errors.New("it needs Linux")

type (
	loopDisk   struct{ image, at string }
	frozenDisk struct{}
)

func canCutPower() error                         { return errNoLinux }
func newLoopDisk(_, _ string) (*loopDisk, error) { return nil, errNoLinux }
func (d *loopDisk) cutPower() error              { return errNoLinux }
func (d *loopDisk) remountImage() error          { return errNoLinux }
func (d *loopDisk) fillDisk(uint64) error        { return errNoLinux }
func (d *loopDisk) freeSpace() error             { return errNoLinux }
func unmountFolder(string) error                 { return errNoLinux }
func canFreezeDisks() error                      { return errNoLinux }
func (d *loopDisk) freeze() (*frozenDisk, error) { return nil, errNoLinux }
func (f *frozenDisk) thaw() error                { return errNoLinux }
func thawLeftover(string)                        {}

func (n *nodeProcess) mountLogDisk() error   { return errNoLinux }
func (n *nodeProcess) unmountLogDisk() error { return errNoLinux }
