//go:build !unix

package main

import "syscall"

func inOwnProcessGroup() *syscall.SysProcAttr { return nil }

func ignoreTerminalInputSignal() {}
