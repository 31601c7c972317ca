package faultfs

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/profilenode/profilenode/scripts/internal/disks"
)

const (
	folderVariable = "FAULTFS_TEST_FOLDER" // makes the test binary serve a file system in a folder until it is killed
	mappedVariable = "FAULTFS_TEST_MAPPED" // makes it map a file
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(folderVariable); dir != "" {
		_, err := Open(dir)
		fmt.Println(err)
		select {}
	}
	if path := os.Getenv(mappedVariable); path != "" {
		if err := writeMapped(path); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// A mount whose server was killed can be taken away, and its folder used again.
func TestMountOfAKilledServerIsUnmounted(t *testing.T) {
	if err := Probe(); err != nil {
		t.Skipf("not on this machine: %v", err)
	}
	home := t.TempDir()
	dir := filepath.Join(home, "disk")
	server := exec.Command(os.Args[0])
	server.Env = append(os.Environ(), folderVariable+"="+dir)
	stdout, err := server.StdoutPipe()
	mustDo(t, err, server.Start())
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "<nil>\n" {
		t.Errorf("it said %q, %v", line, err)
	}
	mustDo(t, os.WriteFile(filepath.Join(dir, "file"), []byte("x"), 0o600), server.Process.Kill())
	_ = server.Wait()
	mustDo(t, disks.UnmountLeftovers(home))
	f, err := Open(dir)
	mustDo(t, err)
	if got := f.list(t); got != "file=x" {
		t.Errorf("it shows %s", got)
	}
	mustDo(t, f.Close())
}
