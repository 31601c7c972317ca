//go:build !unix || solaris || netbsd

package disk

// Inodes returns how many files the file system at path can still hold, and how many it can hold at all. It is not known here.
func Inodes(string) (free, total uint64, ok bool) { return 0, 0, false }
