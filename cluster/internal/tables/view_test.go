package tables

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// On a disk that hangs in the write of Pebble's manifest, views are opened, read and closed all the same.
func TestAViewEndsWhileAWriteOfTheManifestHangs(t *testing.T) {
	hangs, answers := make(chan struct{}), make(chan struct{})
	var armed sync.Once
	var arm bool
	var mu sync.Mutex
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		mu.Lock()
		now := arm
		mu.Unlock()
		if now && op.Kind.ReadOrWrite() == errorfs.OpIsWrite && strings.Contains(op.Path, "MANIFEST") {
			armed.Do(func() { close(hangs) })
			<-answers
		}
		return nil
	}))
	d := openDisk(t, fs, "node")
	defer d.shut(t)
	d.play(t, storyLog(t, 15), 1, 15)
	mu.Lock()
	arm = true
	mu.Unlock()
	flushed := make(chan error, 1)
	go func() { flushed <- d.tables.Flush() }()
	<-hangs
	read := make(chan error, 1)
	go func() {
		for range 3 {
			if _, err := d.tables.ReadNodes(); err != nil {
				read <- err
				return
			}
		}
		read <- nil
	}()
	select {
	case err := <-read:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Error("a read waits for the write of the manifest")
	}
	close(answers)
	if err := <-flushed; err != nil {
		t.Error(err)
	}
}
