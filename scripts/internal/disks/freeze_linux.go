package disks

import (
	"errors"
	"fmt"

	"github.com/profilenode/profilenode/internal/nodeproc"
)

// freezeScript freezes the file system at $0 until its stdin ends. However this program ends, the kernel closes the pipe, so no
// frozen mount stays on the machine.
const freezeScript = `fsfreeze --freeze "$0" || exit 1; echo frozen; cat >/dev/null; exec fsfreeze --unfreeze "$0"`

// ProbeFreeze says why disks cannot be frozen here; nil: they can. It tries that: the programs' presence does not say that it is
// allowed.
func ProbeFreeze() error {
	if err := checkPrograms("fsfreeze"); err != nil {
		return err
	}
	return tryDisk(func(d *Disk) error { return errors.Join(d.Freeze(), d.Thaw()) })
}

// Sync brings all bytes to the disk.
func (d *Disk) Sync() error { return run("sync", "-f", d.at) }

// Freeze lets the disk hang: what writes to it neither returns nor fails, and reads are answered. It returns once that is so. The
// caller must thaw it before it ends a process that writes there. A freeze syncs, which takes its time after many writes.
func (d *Disk) Freeze() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.frozen != nil {
		return fmt.Errorf("freeze %s: it is frozen", d.at)
	}
	frozen, err := nodeproc.StartGuard(freezeScript, d.at)
	if err != nil {
		return fmt.Errorf("freeze %s: %w", d.at, err)
	}
	d.frozen = frozen
	return nil
}

// Thaw lets the disk answer again. On one that is not frozen it does nothing.
func (d *Disk) Thaw() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.frozen == nil {
		return nil
	}
	frozen := d.frozen
	d.frozen = nil
	return frozen.End()
}
