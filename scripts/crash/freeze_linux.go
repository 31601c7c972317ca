package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"github.com/profilenode/profilenode/internal/nodeproc"
)

// freezeScript freezes the file system at $0 until its stdin ends. However this program ends, the kernel closes the pipe, so no
// frozen mount stays on the machine.
const freezeScript = `fsfreeze --freeze "$0" || exit 1; echo frozen; cat >/dev/null; exec fsfreeze --unfreeze "$0"`

// frozenDisk is a disk that neither answers nor fails when it is written to. Reads are answered.
type frozenDisk struct {
	guard *exec.Cmd
	stdin io.Closer // its end thaws the disk
}

// canFreezeDisks tries it: the programs' presence does not say that it is allowed.
func canFreezeDisks() error {
	if _, err := exec.LookPath("fsfreeze"); err != nil {
		return err
	}
	return tryDisk(func(d *loopDisk) error {
		f, err := d.freeze()
		if err != nil {
			return err
		}
		return f.thaw()
	})
}

// freeze returns once the disk hangs. The caller must thaw it before it ends a process that writes there.
func (d *loopDisk) freeze() (*frozenDisk, error) {
	f := &frozenDisk{guard: exec.Command("sh", "-c", freezeScript, d.at)}
	nodeproc.UseOwnGroup(f.guard) // an interrupt at the terminal must not end it
	f.guard.Stderr = os.Stderr
	stdin, err := f.guard.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := f.guard.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := f.guard.Start(); err != nil {
		return nil, err
	}
	f.stdin = stdin
	if _, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		return nil, fmt.Errorf("freeze %s: %w", d.at, errors.Join(err, f.thaw()))
	}
	return f, nil
}

// thaw lets the disk answer again. A second call does nothing.
func (f *frozenDisk) thaw() error {
	if f.stdin == nil {
		return nil
	}
	err := f.stdin.Close()
	f.stdin = nil
	return errors.Join(err, f.guard.Wait())
}

// thawLeftover thaws a mount that an earlier run left frozen. On one that is not frozen it fails, which is right.
func thawLeftover(at string) { _ = exec.Command("fsfreeze", "--unfreeze", at).Run() }
