//go:build unix

package main

import (
	"os/signal"
	"syscall"
)

// inOwnProcessGroup keeps Ctrl-C, which a terminal sends to the whole group, from the nodes: dev stops them itself, in order.
func inOwnProcessGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// ignoreTerminalInputSignal makes reading from a terminal that belongs to another job an error; else it would stop this
// process.
func ignoreTerminalInputSignal() { signal.Ignore(syscall.SIGTTIN) }
