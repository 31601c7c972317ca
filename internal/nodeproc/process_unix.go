//go:build unix

package nodeproc

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// UseOwnGroup makes a command's process the first of a process group of its own.
func UseOwnGroup(command *exec.Cmd) { command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// pauseLimit is how long a process may take to stand still: one in a write to a slow disk takes its time.
const pauseLimit = 30 * time.Second

// PauseProcess stops a process and returns once every thread of it stands still, where the system tells that.
func PauseProcess(p *os.Process) error {
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return fmt.Errorf("pause process %d: %w", p.Pid, err)
	}
	for deadline := time.Now().Add(pauseLimit); time.Now().Before(deadline); time.Sleep(100 * time.Microsecond) {
		if paused, err := isPaused(p.Pid); err != nil || paused {
			return err
		}
	}
	return fmt.Errorf("pause process %d: it runs %v after SIGSTOP", p.Pid, pauseLimit)
}

// ContinueProcess lets a paused process go on.
func ContinueProcess(p *os.Process) error {
	if err := p.Signal(syscall.SIGCONT); err != nil {
		return fmt.Errorf("continue process %d: %w", p.Pid, err)
	}
	return nil
}
