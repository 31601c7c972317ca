//go:build !unix

package main

func ignoreTerminalInputSignal() {}
