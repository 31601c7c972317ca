package sim

import (
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// disk is the file system of one run of a node. The syncs of its log, without which it acknowledges nothing, and of its probe
// can take longer, or not come back.
type disk struct {
	vfs.FS

	mu   sync.Mutex
	slow time.Duration // for each
	held chan struct{} // closed when they come back; nil: they do
}

func newDisk(under vfs.FS) *disk {
	d := &disk{}
	d.FS = errorfs.Wrap(under, errorfs.InjectorFunc(func(op errorfs.Op) error {
		// No others: while it opens, Pebble syncs with its lock held.
		appended := strings.Contains(op.Path, "log/") && strings.HasSuffix(op.Path, ".log") || op.Path == "probe"
		if appended && (op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData) {
			d.waitForDelay()
		}
		return nil
	}))
	return d
}

func (d *disk) waitForDelay() {
	d.mu.Lock()
	slow, held := d.slow, d.held
	d.mu.Unlock()
	if held != nil {
		<-held
	}
	if slow > 0 {
		time.Sleep(slow)
	}
}

func (d *disk) setDelay(by time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.slow = by
}

func (d *disk) holdWrites() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.held == nil {
		d.held = make(chan struct{})
	}
}

func (d *disk) releaseWrites() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.held != nil {
		close(d.held)
		d.held = nil
	}
}
