package nodeproc

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// isPaused says whether every thread of a process stands still.
func isPaused(pid int) (bool, error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil || len(threads) == 0 {
		return false, errors.Join(err, fmt.Errorf("pause process %d: it has ended", pid))
	}
	for _, thread := range threads {
		stat, err := os.ReadFile(thread)
		if err != nil {
			continue // it ended
		}
		_, state, _ := strings.Cut(string(stat), ") ") // the name before it may hold anything
		if !strings.HasPrefix(state, "T") {
			return false, nil
		}
	}
	return true, nil
}
