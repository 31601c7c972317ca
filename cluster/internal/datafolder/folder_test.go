package datafolder

import (
	"io/fs"
	"strings"
	"syscall"
	"testing"
)

// A folder that this user may not write and a folder that another process has locked get different advice.
func TestALockedFolderAndOneOfAnotherUserAreToldApart(t *testing.T) {
	denied := explainLockError("data", &fs.PathError{Op: "open", Path: "data/LOCK", Err: syscall.EACCES}).Error()
	if !strings.Contains(denied, "cannot be written by this user") || strings.Contains(denied, "another process") {
		t.Errorf("a folder of another user: %s", denied)
	}
	locked := explainLockError("data", syscall.EAGAIN).Error()
	if !strings.Contains(locked, "in use by another process") || strings.Contains(locked, "this user") {
		t.Errorf("a locked folder: %s", locked)
	}
}
