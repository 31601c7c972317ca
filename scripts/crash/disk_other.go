//go:build unix && !linux

package main

import "errors"

var errNoLinux = errors.New("it needs Linux")

type disk struct{ image, at string }

func canCutPower() error                 { return errNoLinux }
func newDisk(_, _ string) (*disk, error) { return nil, errNoLinux }
func (d *disk) cut() error               { return errNoLinux }
func (d *disk) remount() error           { return errNoLinux }
func (d *disk) fill(uint64) error        { return errNoLinux }
func (d *disk) free() error              { return errNoLinux }
func unmount(string) error               { return errNoLinux }
func stopped(int) error                  { return errNoLinux }

func (n *node) partLog() error { return errNoLinux }
func (n *node) joinLog() error { return errNoLinux }
