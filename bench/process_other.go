//go:build !unix

package main

import (
	"errors"
	"os"
	"time"
)

var errNotHere = errors.New("bench freezes processes, reads /proc and needs one monotonic clock for all processes: run it on Linux")

// checkSystem says whether this program can measure here.
func checkSystem() error { return errNotHere }

func lowerPriority() error { return errNotHere }

// processIsGone keeps the folders of runs that it cannot judge.
func processIsGone(int) bool { return false }

var processStart = time.Now()

// readMonotonicClock is in nanoseconds since this process began; main has refused to measure with it.
func readMonotonicClock() int64 { return int64(time.Since(processStart)) }

type fileIdentity struct{}

func readAllocation(os.FileInfo) (identity fileIdentity, bytes uint64, known bool) { return }
