package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/profilenode/profilenode/internal/nodeproc"
)

// processPlace is where a process can be started, other than beside this program.
type processPlace interface{ startProcess(process *exec.Cmd) error }

// selfProcess is this very program as another process, which ends with its stdin and logs to a file.
type selfProcess struct {
	name    string
	process *exec.Cmd
	stdin   io.WriteCloser
	log     string        // file
	ended   chan struct{} // closed when it has ended and its stdout is read
}

// startSelf starts this program in a place, which is nil for beside this one. read reads its stdout to the end.
func startSelf(dir, name string, within processPlace, read func(stdout io.Reader), args ...string) (p selfProcess, err error) {
	program, err := os.Executable()
	if err != nil {
		return p, err
	}
	p = selfProcess{name: name, process: exec.Command(program, args...), log: filepath.Join(dir, name+".log"), ended: make(chan struct{})}
	// A group of its own: an interrupt at the terminal reaches this program alone, which then ends it. And when this
	// program dies while one is stopped, which cannot see its stdin end, the kernel hangs up on its orphaned group.
	nodeproc.UseOwnGroup(p.process)
	if p.stdin, err = p.process.StdinPipe(); err != nil {
		return p, err
	}
	stdout, err := p.process.StdoutPipe()
	if err != nil {
		return p, err
	}
	file, err := os.Create(p.log)
	if err != nil {
		return p, err
	}
	defer func() { _ = file.Close() }() // the process has its own
	p.process.Stderr = file
	start := p.process.Start
	if within != nil {
		start = func() error { return within.startProcess(p.process) }
	}
	if err := start(); err != nil {
		return p, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		read(stdout)
		_ = p.process.Wait() // killed, most of the time; its log says more
		close(p.ended)
	}()
	return p, nil
}

func (p *selfProcess) endedError() error {
	text, _ := os.ReadFile(p.log)
	return fmt.Errorf("%s ended:\n%s", p.name, text[max(0, len(text)-2000):])
}

// killProcess ends it at once, and returns when the kernel has taken it down.
func (p *selfProcess) killProcess() {
	_ = p.process.Process.Kill() // it may have ended
	<-p.ended
	_ = p.stdin.Close()
}

// pauseProcess freezes it, and returns when it stands still.
func (p *selfProcess) pauseProcess() error { return nodeproc.PauseProcess(p.process.Process) }

func (p *selfProcess) resumeProcess() error { return nodeproc.ContinueProcess(p.process.Process) }
