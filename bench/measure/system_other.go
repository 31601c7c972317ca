//go:build !unix

package measure

import (
	"errors"
	"os"
	"time"
)

var errNotHere = errors.New("bench freezes processes, reads /proc and needs one monotonic clock for all processes: run it on Linux")

// CheckSystem is an error on a system on which this program cannot measure.
func CheckSystem() error { return errNotHere }

// LowerPriority is an error here.
func LowerPriority() error { return errNotHere }

// IsGone keeps the folders of runs that it cannot judge.
func IsGone(int) bool { return false }

var processStart = time.Now()

// readMonotonicClock is in nanoseconds since this process began; main has refused to measure with it.
func readMonotonicClock() int64 { return int64(time.Since(processStart)) }

type fileIdentity struct{}

func readAllocation(os.FileInfo) (identity fileIdentity, bytes uint64, known bool) { return }
