// Package clocks sets the clocks of one running process wrong, from outside, while those of all others stay right.
//
// Programs read the time by a function that the kernel maps into each process (the vDSO). Its pages are private to a process once
// they are written to. [Attach] writes a routine into their unused end, which asks the kernel by the system call and adds an
// offset, and a jump to it over the function's first bytes. Offsets are then words in memory, which are changed while the process
// runs. Timers of the kernel go on in real time: a process whose clock jumps sees that when something wakes it.
package clocks

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrBackwards is the error of a step that would set a monotonic clock back, which no real one does.
var ErrBackwards = errors.New("a monotonic clock never goes back")

// Clock is the clocks of one process: the one of the wall, and the monotonic one with that of the time since boot. Its methods are
// safe for concurrent use. Set fails once the process has ended.
type Clock struct {
	pid int

	mu              sync.Mutex
	patch           *patch
	wall, monotonic time.Duration // the offsets from the right time
}

// Attach takes over the clocks of a process, which is stopped for some milliseconds. They are as they were until the first Set: right,
// or as far ahead as an earlier Attach left them.
func Attach(pid int) (*Clock, error) {
	p, wall, monotonic, err := applyPatch(pid)
	if err != nil {
		return nil, fmt.Errorf("attach to the clocks of process %d: %w", pid, err)
	}
	return &Clock{pid: pid, patch: p, wall: wall, monotonic: monotonic}, nil
}

// Offsets are by how much the clocks are ahead.
func (c *Clock) Offsets() (wall, monotonic time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wall, c.monotonic
}

// Set sets the offsets of both clocks from the right time. The wall may jump both ways; a monotonic offset that is less than
// the present one is ErrBackwards.
func (c *Clock) Set(wall, monotonic time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.set(wall, monotonic)
}

func (c *Clock) set(wall, monotonic time.Duration) error {
	if monotonic < c.monotonic {
		return fmt.Errorf("set the clocks of process %d: %w: from %v ahead to %v", c.pid, ErrBackwards, c.monotonic, monotonic)
	}
	if err := c.patch.setOffsets(wall, monotonic); err != nil {
		return fmt.Errorf("set the clocks of process %d: %w", c.pid, err)
	}
	c.wall, c.monotonic = wall, monotonic
	return nil
}

// SetWall sets the offset of the clock of the wall alone.
func (c *Clock) SetWall(wall time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.set(wall, c.monotonic)
}

// Drift moves the clocks on by what a clock that is wrong by rate gains in a time: with a rate of 0.1 six seconds a minute. The
// caller calls it again and again, for each piece of time that went by. A negative rate moves the clock of the wall alone.
func (c *Clock) Drift(rate float64, passed time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	gained := time.Duration(rate * float64(passed))
	return c.set(c.wall+gained, c.monotonic+max(gained, 0))
}

// Detach sets the clock of the wall right. A monotonic clock that is ahead stays so until the process ends, as it may not go back;
// otherwise the process's memory is as it was before Attach, but for bytes that nothing reads. A process that has ended is no error.
func (c *Clock) Detach() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.patch.detach(c.monotonic); err != nil {
		return fmt.Errorf("detach from the clocks of process %d: %w", c.pid, err)
	}
	c.wall = 0
	return nil
}
