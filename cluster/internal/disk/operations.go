package disk

import (
	"errors"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Operations records the operations of a node's stores that are waiting for its disk. A disk that hangs returns no error,
// so it shows only by an operation that does not return. A nil Operations records nothing.
type Operations struct {
	mu      sync.Mutex
	running []*Operation // the running operations, the oldest first
	lastEnd time.Time    // when the last operation ended; zero: none has ended
}

// Operation is one operation that is waiting for the disk.
type Operation struct {
	Name  string // verb and object, for alarms and log lines
	Began time.Time
}

// Begin notes an operation. The caller calls end once the operation has returned.
func (o *Operations) Begin(name string) (end func()) {
	if o == nil {
		return func() {}
	}
	begun := &Operation{Name: name, Began: time.Now()}
	o.mu.Lock()
	o.running = append(o.running, begun)
	o.mu.Unlock()
	return func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.lastEnd = time.Now()
		for i, running := range o.running {
			if running == begun {
				o.running = append(o.running[:i], o.running[i+1:]...)
				return
			}
		}
	}
}

// Oldest returns the running operation that began first. ok is false if none is running.
func (o *Operations) Oldest() (oldest Operation, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.running) == 0 {
		return Operation{}, false
	}
	return *o.running[0], true
}

// IdleSince returns the time at which the last operation ended, zero if none has. idle is false if one is running.
func (o *Operations) IdleSince() (last time.Time, idle bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.lastEnd, len(o.running) == 0
}

// WriteProbe writes a few bytes to the file at path and syncs them, to see whether the disk still answers.
func WriteProbe(fs vfs.FS, path string) error {
	file, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = file.Write([]byte("written to see whether the disk answers\n"))
	return errors.Join(err, file.Sync(), file.Close())
}
