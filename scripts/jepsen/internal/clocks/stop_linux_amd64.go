package clocks

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/prometheus/procfs"

	"github.com/profilenode/profilenode/internal/nodeproc"
)

const stopTries = 50 // each for some microseconds in which a thread may be at a wrong place

// whileStopped runs act while no thread of a process runs, and none is about to run an instruction between two addresses. A
// process that is paused already stays paused.
func whileStopped(pid int, begin, end int64, act func() error) error {
	process, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	defer func() { _ = process.Release() }()
	own, err := procfs.NewProc(pid)
	if err != nil {
		return err
	}
	stat, err := own.Stat()
	if err != nil {
		return err
	}
	if stat.State == "T" {
		if err := checkThreads(pid, begin, end); err != nil {
			return err
		}
		return act()
	}
	for range stopTries {
		if err := nodeproc.PauseProcess(process); err != nil {
			return errors.Join(err, ignoreEnd(nodeproc.ContinueProcess(process)))
		}
		if err = checkThreads(pid, begin, end); err == nil {
			err = act()
			return errors.Join(err, ignoreEnd(nodeproc.ContinueProcess(process)))
		}
		if err := nodeproc.ContinueProcess(process); err != nil {
			return err
		}
	}
	return err
}

func ignoreEnd(err error) error {
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// checkThreads fails if a stopped thread would go on between two addresses.
func checkThreads(pid int, begin, end int64) error {
	threads, err := procfs.AllThreads(pid)
	if err != nil {
		return err
	}
	for _, thread := range threads {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/syscall", pid, thread.PID))
		if errors.Is(err, os.ErrNotExist) {
			continue // it has ended
		}
		if err != nil {
			return err
		}
		fields := strings.Fields(string(text))
		if len(fields) < 3 { // "running"
			return fmt.Errorf("thread %d of process %d is %s", thread.PID, pid, fields)
		}
		counter, err := strconv.ParseUint(strings.TrimPrefix(fields[len(fields)-1], "0x"), 16, 64)
		if err != nil {
			return err
		}
		if at := int64(counter); at >= begin && at < end {
			return fmt.Errorf("thread %d of process %d reads its clock just now", thread.PID, pid)
		}
	}
	return nil
}
