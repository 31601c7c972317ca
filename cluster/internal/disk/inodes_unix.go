//go:build unix && !solaris && !netbsd

package disk

import "syscall"

// Inodes returns how many files the file system at path can still hold, and how many it can hold at all. ok is false where
// that is not known, as on file systems that make inodes as they need them.
func Inodes(path string) (free, total uint64, ok bool) {
	var usage syscall.Statfs_t
	if err := syscall.Statfs(path, &usage); err != nil || usage.Files == 0 {
		return 0, 0, false
	}
	return uint64(usage.Ffree), uint64(usage.Files), true
}
