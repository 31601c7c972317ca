//go:build !unix

package server

// openFilesLimit is how many files this process may have open; 0: not known.
func openFilesLimit() uint64 { return 0 }
