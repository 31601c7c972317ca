package server

import "fmt"

// leastOpenFiles is what a node needs: the files of its log and tables, and connections to other nodes and to a few clients.
const leastOpenFiles = 128

// CheckOpenFiles returns an error if this process may open too few files for a node.
func CheckOpenFiles() error {
	if limit := openFilesLimit(); limit > 0 && limit < leastOpenFiles {
		return fmt.Errorf("this process may open %d files, and a node needs %d at least, and one more for each client: raise LimitNOFILE (ulimit -n)", limit, leastOpenFiles)
	}
	return nil
}
