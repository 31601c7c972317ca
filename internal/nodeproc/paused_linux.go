package nodeproc

import (
	"fmt"

	"github.com/prometheus/procfs"
)

// isPaused says whether every thread of a process stands still.
func isPaused(pid int) (bool, error) {
	threads, err := procfs.AllThreads(pid)
	if err != nil {
		return false, fmt.Errorf("pause process %d: it has ended: %w", pid, err)
	}
	for _, thread := range threads {
		if stat, err := thread.Stat(); err == nil && stat.State != "T" { // a thread without it has ended
			return false, nil
		}
	}
	return true, nil
}
