//go:build !unix

package nodeproc

import (
	"errors"
	"os"
	"os/exec"
)

// UseOwnGroup does nothing here: there are no process groups.
func UseOwnGroup(*exec.Cmd) {}

var errNoSignals = errors.New("processes cannot be paused on this system: it takes Unix signals")

// PauseProcess is an error here.
func PauseProcess(*os.Process) error { return errNoSignals }

// ContinueProcess is an error here.
func ContinueProcess(*os.Process) error { return errNoSignals }
