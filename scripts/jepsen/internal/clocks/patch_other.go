//go:build !linux || !amd64

package clocks

import (
	"errors"
	"time"
)

var errNotHere = errors.New("the clocks of one process can be set on Linux on amd64 alone")

type patch struct{}

func applyPatch(int) (p *patch, wall, monotonic time.Duration, err error) {
	return nil, 0, 0, errNotHere
}

func (p *patch) setOffsets(wall, monotonic time.Duration) error { return errNotHere }

func (p *patch) detach(monotonic time.Duration) error { return errNotHere }

// Probe says why clocks cannot be set here.
func Probe() error { return errNotHere }
