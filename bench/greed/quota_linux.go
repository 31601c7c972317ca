package greed

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

const quotaPeriod = 100_000 // microseconds

// quota is a control group that may use so much of one processor.
type quota struct{ folder string }

// newQuota makes a control group, of version 1 or 2.
func newQuota(share float64) (*quota, error) {
	name := fmt.Sprintf("profilenode-bench-%d", os.Getpid())
	limit := strconv.Itoa(int(share * quotaPeriod))
	for _, kind := range []struct {
		root, mark string // mark is a file that only this version has
		files      [][2]string
	}{
		{"/sys/fs/cgroup/cpu", "cpu.cfs_quota_us", [][2]string{{"cpu.cfs_period_us", strconv.Itoa(quotaPeriod)}, {"cpu.cfs_quota_us", limit}}},
		{"/sys/fs/cgroup", "cgroup.controllers", [][2]string{{"cpu.max", limit + " " + strconv.Itoa(quotaPeriod)}}},
	} {
		if _, err := os.Stat(filepath.Join(kind.root, kind.mark)); err != nil {
			continue
		}
		q := &quota{filepath.Join(kind.root, name)}
		err := os.Mkdir(q.folder, 0o755)
		for _, file := range kind.files {
			err = errors.Join(err, os.WriteFile(filepath.Join(q.folder, file[0]), []byte(file[1]), 0o644))
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("make a control group: %w (it needs root)", err), q.remove())
		}
		return q, nil
	}
	return nil, errors.New("this machine has no control groups for processors below /sys/fs/cgroup")
}

// add puts a process into the group.
func (q *quota) add(pid int) error {
	return os.WriteFile(filepath.Join(q.folder, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o644)
}

// remove removes the group, whose processes must have ended.
func (q *quota) remove() error { return os.Remove(q.folder) }
