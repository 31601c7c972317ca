//go:build unix

package main

import (
	"os/signal"
	"syscall"
)

// apart keeps Ctrl-C, which a terminal sends to the whole group, from the nodes: dev stops them itself, in order.
func apart() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// readKeysQuietly makes reading from a terminal that belongs to another job an error; else it would stop this process.
func readKeysQuietly() { signal.Ignore(syscall.SIGTTIN) }
