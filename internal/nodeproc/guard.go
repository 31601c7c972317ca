package nodeproc

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
)

// Guard is a child process that keeps something on this machine in a state, a frozen file system for example, which it ends when its
// stdin ends: by End, or by the kernel, however this process ends.
type Guard struct {
	command *exec.Cmd
	stdin   io.Closer
}

// StartGuard runs a shell script with a subject as its $0, and returns once the script has printed a line: the state holds. The
// script must wait for the end of its stdin, and then end the state.
func StartGuard(script, subject string) (*Guard, error) {
	g := &Guard{command: exec.Command("sh", "-c", script, subject)}
	UseOwnGroup(g.command) // an interrupt at the terminal must not end it
	g.command.Stderr = os.Stderr
	var err error
	if g.stdin, err = g.command.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := g.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := g.command.Start(); err != nil {
		return nil, err
	}
	if _, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		return nil, fmt.Errorf("the script ended: %w", errors.Join(err, g.End()))
	}
	return g, nil
}

// End ends the state, and returns when that is done.
func (g *Guard) End() error { return errors.Join(g.stdin.Close(), g.command.Wait()) }
