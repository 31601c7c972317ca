//go:build unix

package main

import (
	"os/signal"
	"syscall"
)

// ignoreTerminalInputSignal makes reading from a terminal that belongs to another job an error; else it would stop this
// process.
func ignoreTerminalInputSignal() { signal.Ignore(syscall.SIGTTIN) }
