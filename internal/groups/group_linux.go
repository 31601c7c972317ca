// Package groups puts processes into a control group of their own, which bounds their processor time and memory, freezes them so that
// they cannot notice it, and ends them all. It takes root, and control groups of version 1; a bound of processor time, version 2 too.
//
// Groups lie below those that this process is in, so that its own bounds hold for them too.
package groups

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/profilenode/profilenode/internal/nodeproc"
)

const (
	root        = "/sys/fs/cgroup"
	quotaPeriod = 100_000 // microseconds
	waitLimit   = 10 * time.Second
)

// The files that only the control groups of version 1 have, or of version 2.
const (
	markCPU     = "cpu.cfs_quota_us"
	markMemory  = "memory.limit_in_bytes"
	markFreezer = "freezer.state"
	markSecond  = "cgroup.controllers"
)

// Group is a control group. Its methods are not safe for concurrent use.
type Group struct {
	name    string
	folders map[string]string // by controller: those that were needed so far; "" is the one group of version 2
	pids    []int
	frozen  *nodeproc.Guard // nil: it is not frozen
}

// New prepares a group. Its name must be one that no other group has.
func New(name string) *Group { return &Group{name: name, folders: map[string]string{}} }

// ProbeCPU says why processor time cannot be bounded here; nil: it can.
func ProbeCPU() error { return tryGroup(func(g *Group) error { return g.LimitCPU(1) }) }

// ProbeMemory says why memory cannot be bounded here; nil: it can.
func ProbeMemory() error { return tryGroup(func(g *Group) error { return g.LimitMemory(64 << 20) }) }

// ProbeFreezer says why processes cannot be frozen here; nil: they can.
func ProbeFreezer() error {
	return tryGroup(func(g *Group) error { return errors.Join(g.Freeze(), g.Thaw()) })
}

func tryGroup(act func(*Group) error) error {
	g := New(fmt.Sprintf("profilenode-probe-%d", os.Getpid()))
	return errors.Join(act(g), g.Close())
}

// Add puts a process into the group, with all that it starts from now on.
func (g *Group) Add(pid int) error {
	g.pids = append(g.pids, pid)
	for _, folder := range g.folders {
		if err := addProcess(folder, pid); err != nil {
			return err
		}
	}
	return nil
}

func addProcess(folder string, pid int) error {
	return writeFile(folder, "cgroup.procs", strconv.Itoa(pid))
}

func writeFile(folder, name, text string) error {
	if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil {
		return fmt.Errorf("control group: %w", err)
	}
	return nil
}

// openController makes the group of a controller, and puts the processes into it.
func (g *Group) openController(controller, mark string) (folder string, err error) {
	if folder, ok := g.folders[controller]; ok {
		return folder, nil
	}
	above, err := findOwnGroup(controller)
	if err != nil {
		return "", err
	}
	folder = filepath.Join(above, g.name)
	if err := os.Mkdir(folder, 0o755); err != nil {
		return "", fmt.Errorf("make a control group: %w (it takes root)", err)
	}
	g.folders[controller] = folder
	if _, err := os.Stat(filepath.Join(folder, mark)); err != nil {
		return "", fmt.Errorf("the control groups of %s have no %s: %w", controller, mark, err)
	}
	for _, pid := range g.pids {
		if err := addProcess(folder, pid); err != nil && !errors.Is(err, syscall.ESRCH) { // one that has ended needs no bounds
			return "", err
		}
	}
	return folder, nil
}

// findOwnGroup returns the folder of the group of version 1 that this process is in.
func findOwnGroup(controller string) (string, error) {
	top := filepath.Join(root, controller)
	if _, err := os.Stat(filepath.Join(top, "cgroup.procs")); err != nil {
		if isSecondVersion() {
			return "", fmt.Errorf("this machine has control groups of version 2, and bounds of %s are set in those of version 1 alone", controller)
		}
		return "", fmt.Errorf("this machine has no control groups of %s below %s", controller, root)
	}
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) < 3 {
			continue
		}
		for _, c := range strings.Split(fields[1], ",") {
			if own := filepath.Join(top, fields[2]); c == controller {
				if _, err := os.Stat(own); err == nil {
					return own, nil
				}
				return top, nil // in a container the path is that of the host
			}
		}
	}
	return top, nil
}

func isSecondVersion() bool {
	_, err := os.Stat(filepath.Join(root, markSecond))
	return err == nil
}

// LimitCPU bounds the processors that the group may use, 0.3 for three tenths of one; 0: no bound.
func (g *Group) LimitCPU(share float64) error {
	quota := strconv.Itoa(int(share * quotaPeriod))
	if isSecondVersion() {
		return g.limitCPUOfSecondVersion(share, quota)
	}
	folder, err := g.openController("cpu", markCPU)
	if err != nil {
		return err
	}
	if share == 0 {
		quota = "-1"
	}
	if err := writeFile(folder, "cpu.cfs_period_us", strconv.Itoa(quotaPeriod)); err != nil {
		return err
	}
	return writeFile(folder, markCPU, quota)
}

func (g *Group) limitCPUOfSecondVersion(share float64, quota string) error {
	folder, ok := g.folders[""]
	if !ok {
		folder = filepath.Join(root, g.name)
		if err := os.Mkdir(folder, 0o755); err != nil {
			return fmt.Errorf("make a control group: %w (it takes root)", err)
		}
		g.folders[""] = folder
		for _, pid := range g.pids {
			if err := addProcess(folder, pid); err != nil {
				return err
			}
		}
	}
	if share == 0 {
		quota = "max"
	}
	return writeFile(folder, "cpu.max", quota+" "+strconv.Itoa(quotaPeriod))
}

// LimitMemory bounds the memory of the group, with what it swaps out; 0: no bound. A process that needs more is killed. Less than the
// group uses, and cannot give back, is an error.
func (g *Group) LimitMemory(limit int64) error {
	folder, err := g.openController("memory", markMemory)
	if err != nil {
		return err
	}
	const withSwap = "memory.memsw.limit_in_bytes" // is never below the other bound; some kernels have none
	if err := writeFile(folder, withSwap, "-1"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if limit == 0 {
		limit = -1
	}
	if err := writeFile(folder, markMemory, strconv.FormatInt(limit, 10)); err != nil {
		return err
	}
	if err := writeFile(folder, withSwap, strconv.FormatInt(limit, 10)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// MemoryUsage is the memory that the group uses, in bytes, since its processes were put into it. LimitMemory comes before.
func (g *Group) MemoryUsage() (int64, error) {
	folder, err := g.openController("memory", markMemory)
	if err != nil {
		return 0, err
	}
	text, err := os.ReadFile(filepath.Join(folder, "memory.usage_in_bytes"))
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
}

// MemoryKills counts the processes that were killed for want of memory.
func (g *Group) MemoryKills() (int, error) {
	folder, err := g.openController("memory", markMemory)
	if err != nil {
		return 0, err
	}
	text, err := os.ReadFile(filepath.Join(folder, "memory.oom_control"))
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(text) {
		if count, ok := bytes.CutPrefix(line, []byte("oom_kill ")); ok {
			return strconv.Atoi(string(bytes.TrimSpace(count)))
		}
	}
	return 0, errors.New("memory.oom_control counts no kills")
}

// KillAll kills every process of the group, a frozen one too, and returns when none is left.
func (g *Group) KillAll() error {
	if _, err := g.openController("freezer", markFreezer); err != nil && len(g.folders) == 0 {
		return err
	}
	for deadline := time.Now().Add(waitLimit); ; time.Sleep(5 * time.Millisecond) {
		pids, err := g.processes()
		if err != nil || len(pids) == 0 {
			return err
		}
		for _, pid := range pids {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				return err
			}
		}
		if err := g.Thaw(); err != nil { // a frozen process does not end
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes %v of the group %s have not ended within %v", pids, g.name, waitLimit)
		}
	}
}

// processes are the ids of those in the group.
func (g *Group) processes() (pids []int, err error) {
	for _, folder := range g.folders {
		text, err := os.ReadFile(filepath.Join(folder, "cgroup.procs"))
		if err != nil {
			return nil, err
		}
		for _, field := range strings.Fields(string(text)) {
			pid, err := strconv.Atoi(field)
			if err != nil {
				return nil, err
			}
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// Close removes the group. Processes of it that run go on without its bounds, in the group above.
func (g *Group) Close() error {
	errs := []error{g.Thaw()}
	pids, err := g.processes()
	errs = append(errs, err)
	for controller, folder := range g.folders {
		for _, pid := range pids {
			if err := addProcess(filepath.Dir(folder), pid); err != nil && !errors.Is(err, syscall.ESRCH) {
				errs = append(errs, err)
			}
		}
		errs = append(errs, removeFolder(folder))
		delete(g.folders, controller)
	}
	return errors.Join(errs...)
}

func removeFolder(folder string) error {
	var err error
	for deadline := time.Now().Add(waitLimit); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if err = os.Remove(folder); err == nil || !errors.Is(err, syscall.EBUSY) {
			return err
		}
	}
	return err
}
