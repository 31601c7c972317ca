package testbed

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

func TestFoldersOfKilledRunsAreRemoved(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	mine := filepath.Join(os.TempDir(), fmt.Sprintf("%s%d-1", folderMark, os.Getpid()))
	left := filepath.Join(os.TempDir(), folderMark+"4194399-1") // above the kernel's limit of process ids, 2^22
	other := filepath.Join(os.TempDir(), folderMark+"notes")
	for _, folder := range []string{mine, left, other} {
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	removeOldFolders()
	for folder, want := range map[string]bool{mine: true, left: false, other: true} {
		if _, err := os.Stat(folder); (err == nil) != want {
			t.Errorf("%s exists: %v, want %v", filepath.Base(folder), err == nil, want)
		}
	}
}
