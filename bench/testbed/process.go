package testbed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/rpc"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/profilenode/profilenode/internal/network"
	"github.com/profilenode/profilenode/internal/nodeproc"
)

// Process is this very program as another process, which ends with its stdin and logs to a file.
type Process struct {
	Name  string
	Ended chan struct{} // closed when it has ended and its stdout is read

	command *exec.Cmd
	stdin   io.WriteCloser
	log     string // file
}

// StartProcess starts this program with arguments, on a host or, if that is nil, beside this process. read reads its stdout
// to the end.
func StartProcess(folder, name string, host *network.Host, read func(stdout io.Reader), arguments ...string) (*Process, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &Process{Name: name, command: exec.Command(program, arguments...), log: filepath.Join(folder, name+".log"), Ended: make(chan struct{})}
	// A group of its own: an interrupt at the terminal reaches this program alone, which then ends it. When this program
	// dies while the process is paused, and cannot see the end of its stdin, the kernel hangs up on its orphaned group.
	nodeproc.UseOwnGroup(p.command)
	if p.stdin, err = p.command.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := p.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	file, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // the process has its own
	p.command.Stderr = file
	start := p.command.Start
	if host != nil {
		start = func() error { return host.Start(p.command) }
	}
	if err := start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		read(stdout)
		_ = p.command.Wait() // killed, most of the time; its log says more
		close(p.Ended)
	}()
	return p, nil
}

// PID is the id of the process.
func (p *Process) PID() int { return p.command.Process.Pid }

// EndedError is the error of a process that has ended, with the end of its log.
func (p *Process) EndedError() error {
	text, _ := os.ReadFile(p.log)
	return fmt.Errorf("%s ended:\n%s", p.Name, text[max(0, len(text)-2000):])
}

// Kill ends it at once, and returns when it is gone.
func (p *Process) Kill() {
	_ = p.command.Process.Kill() // it may have ended
	<-p.Ended
	_ = p.stdin.Close()
}

// End closes its stdin, and returns when it is gone.
func (p *Process) End(ctx context.Context) error {
	_ = p.stdin.Close()
	select {
	case <-p.Ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the end of %s: %w", p.Name, ctx.Err())
	}
}

// Pause stops it where it is, and returns when it stands still.
func (p *Process) Pause() error { return nodeproc.PauseProcess(p.command.Process) }

// Continue lets it go on.
func (p *Process) Continue() error { return nodeproc.ContinueProcess(p.command.Process) }

// CalledProcess is a process that serves calls of net/rpc on its stdin and stdout.
type CalledProcess struct {
	*Process
	calls *rpc.Client
}

// Stdio is a connection made of two pipes, such as stdin and stdout.
type Stdio struct {
	io.Reader
	io.WriteCloser
}

// StartCalledProcess starts one as StartProcess does.
func StartCalledProcess(folder, name string, host *network.Host, arguments ...string) (*CalledProcess, error) {
	answers, out := io.Pipe()
	p, err := StartProcess(folder, name, host, func(stdout io.Reader) {
		_, err := io.Copy(out, stdout)
		_ = out.CloseWithError(err)
	}, arguments...)
	if err != nil {
		return nil, err
	}
	return &CalledProcess{p, rpc.NewClient(Stdio{answers, p.stdin})}, nil
}

// Call calls a method. With an error nothing may read the reply.
func (p *CalledProcess) Call(ctx context.Context, method string, argument, reply any) error {
	call := p.calls.Go(method, argument, reply, make(chan *rpc.Call, 1))
	for done := call.Done; ; {
		select {
		case <-done:
			if said := rpc.ServerError(""); call.Error == nil || errors.As(call.Error, &said) {
				return call.Error
			}
			done = nil // the connection has ended: so does the process
		case <-p.Ended:
			return p.EndedError()
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", p.Name, ctx.Err())
		}
	}
}
