package deploy_test

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// patience is how long one step of the cluster may take on a busy machine.
const patience = 90 * time.Second

// run runs a program and returns what it prints.
func run(t *testing.T, environ []string, name string, args ...string) string {
	t.Helper()
	out, err := tryRun(t, environ, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

func tryRun(t *testing.T, environ []string, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, name, args...)
	command.Env = append(os.Environ(), environ...)
	out, err := command.CombinedOutput()
	return string(out), err
}

// await waits until holds, and says what it waited for if that never comes.
func await(t *testing.T, what string, holds func() (string, bool)) {
	t.Helper()
	var last string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(250 * time.Millisecond) {
		var ok bool
		if last, ok = holds(); ok {
			return
		}
	}
	t.Fatalf("not within %v: %s\n%s", patience, what, last)
}
