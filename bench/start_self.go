package main

import (
	"io"
	"os"
	"os/exec"

	"github.com/profilenode/profilenode/internal/nodeproc"
)

// processPlace is where a process can be started, other than beside this program.
type processPlace interface{ startProcess(process *exec.Cmd) error }

// startSelf starts this very program as another process, which ends with its stdin and logs to a file. within, if it is
// not nil, is where it lives.
func startSelf(log string, within processPlace, args ...string) (process *exec.Cmd, stdin io.WriteCloser, stdout io.Reader, err error) {
	program, err := os.Executable()
	if err != nil {
		return nil, nil, nil, err
	}
	process = exec.Command(program, args...)
	// A group of its own: an interrupt at the terminal reaches this program alone, which then ends it. And when this
	// program dies while one is stopped, which cannot see its stdin end, the kernel hangs up on its orphaned group.
	nodeproc.UseOwnGroup(process)
	if stdin, err = process.StdinPipe(); err != nil {
		return nil, nil, nil, err
	}
	if stdout, err = process.StdoutPipe(); err != nil {
		return nil, nil, nil, err
	}
	file, err := os.Create(log)
	if err != nil {
		return nil, nil, nil, err
	}
	defer func() { _ = file.Close() }() // the process has its own
	process.Stderr = file
	if within != nil {
		err = within.startProcess(process)
	} else {
		err = process.Start()
	}
	return process, stdin, stdout, err
}
