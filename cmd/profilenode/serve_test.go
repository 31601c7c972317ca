package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/profilenode/profilenode/internal/nodeproc"
)

// served is a node in this process, started as serve starts it.
type served struct {
	clients, http string // once it is ready
	stop          context.CancelFunc
	exit          chan int
	out           *lineReader
	errs          *lockedBuffer
}

// serveOne is a cluster of one that is ready.
func serveOne(t *testing.T, args ...string) *served {
	t.Helper()
	s := beginServe(t, args...)
	s.awaitReady(t)
	return s
}

func beginServe(t *testing.T, args ...string) *served {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s := &served{stop: cancel, exit: make(chan int, 1), out: newLineReader(), errs: &lockedBuffer{}}
	args = append([]string{
		"serve", "--data", filepath.Join(t.TempDir(), "data"), "--bind", "127.0.0.1:0", "--bind-nodes", "127.0.0.1:0",
		"--bind-gossip", "", "--bind-http", "127.0.0.1:0",
	}, args...)
	go func() { s.exit <- runCommandLine(ctx, args, process{strings.NewReader(""), s.out, s.errs, nil}) }()
	t.Cleanup(func() {
		cancel()
		select {
		case <-s.exit:
		case <-time.After(stopLimit + 5*time.Second):
			t.Error("serve did not stop")
		}
		if t.Failed() {
			t.Logf("log of the node:\n%s", s.errs)
		}
	})
	return s
}

func (s *served) awaitReady(t *testing.T) {
	t.Helper()
	select {
	case line := <-s.out.lines:
		if !strings.HasPrefix(line, "ready ") {
			t.Fatalf("got %q, want a ready line", line)
		}
		s.clients, s.http = field(t, line, "clients"), field(t, line, "http")
	case code := <-s.exit:
		s.exit <- code
		t.Fatalf("serve ended with %d:\n%s", code, s.errs)
	case <-time.After(startLimit):
		t.Fatalf("not ready in %v:\n%s", startLimit, s.errs)
	}
}

// field is the value of name=value in a ready line.
func field(t *testing.T, line, name string) string {
	t.Helper()
	for word := range strings.FieldsSeq(line) {
		if value, ok := strings.CutPrefix(word, name+"="); ok {
			return value
		}
	}
	t.Fatalf("no %s in %q", name, line)
	return ""
}

// lineReader is stdout of a command, line by line.
type lineReader struct {
	nodeproc.LineWriter
	lines chan string
}

func newLineReader() *lineReader {
	r := &lineReader{lines: make(chan string, 1000)}
	r.Handle = func(line string) { r.lines <- line }
	return r
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestServe(t *testing.T) {
	s := serveOne(t)
	for _, path := range []string{"/livez", "/readyz"} {
		code, body := fetch(t, "http://"+s.http+path)
		if code != http.StatusOK || body != "ok\n" {
			t.Errorf("%s: got %d %q, want 200 ok", path, code, body)
		}
	}
	s.stop()
	code := <-s.exit
	s.exit <- code
	if code != exitOK {
		t.Errorf("exit code: got %d, want %d", code, exitOK)
	}
	if _, err := http.Get("http://" + s.http + "/livez"); err == nil {
		t.Error("the HTTP port still answers")
	}
}

// A taken port is one sentence, and nothing is left behind.
func TestServePortTaken(t *testing.T) {
	s := serveOne(t)
	folder := filepath.Join(t.TempDir(), "data")
	for flag, address := range map[string]string{"--bind": s.clients, "--bind-http": s.http} {
		var out, errs bytes.Buffer
		args := []string{"serve", "--data", folder, "--bind", "127.0.0.1:0", "--bind-nodes", "127.0.0.1:0", "--bind-gossip", "", "--bind-http", "127.0.0.1:0", flag, address}
		if got := runCommandLine(t.Context(), args, process{nil, &out, &errs, nil}); got != exitFailed {
			t.Errorf("%s: exit code %d, want %d", flag, got, exitFailed)
		}
		if got := errs.String(); !strings.Contains(got, address) || !strings.Contains(got, "hint: another process has this port") || strings.Count(got, "\n") != 2 {
			t.Errorf("%s: got %q", flag, got)
		}
	}
	if found, _ := filepath.Glob(filepath.Join(folder, "*")); len(found) > 0 {
		t.Errorf("a node that could not start left %v", found)
	}
}

func TestServeStopsWithStdin(t *testing.T) {
	in, end := io.Pipe()
	exit := make(chan int, 1)
	out, errs := newLineReader(), &lockedBuffer{}
	go func() {
		exit <- runCommandLine(context.Background(), []string{"serve", "--exit-with-stdin", "--data", filepath.Join(t.TempDir(), "data"), "--bind", "127.0.0.1:0",
			"--bind-nodes", "127.0.0.1:0", "--bind-gossip", "", "--bind-http", ""}, process{in, out, errs, nil})
	}()
	select {
	case <-out.lines:
	case <-time.After(30 * time.Second):
		t.Errorf("not ready:\n%s", errs)
	}
	_ = end.Close()
	select {
	case got := <-exit:
		if got != exitOK {
			t.Errorf("exit code: got %d, want %d:\n%s", got, exitOK, errs)
		}
	case <-time.After(stopLimit + 5*time.Second):
		t.Fatal("it goes on without stdin")
	}
}

func fetch(t *testing.T, url string) (int, string) {
	t.Helper()
	reply, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	body, err := io.ReadAll(reply.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply.StatusCode, string(body)
}

func TestServeOnAFullDiskHasAnExitCodeOfItsOwn(t *testing.T) {
	const all = "4000000GiB"
	s := beginServe(t, "--reserve", all, "--hard-reserve", all)
	select {
	case code := <-s.exit:
		s.exit <- code
		if code != exitFull || !strings.Contains(s.errs.String(), "free some space and start this node again") {
			t.Errorf("got exit code %d and\n%s", code, s.errs)
		}
	case <-time.After(startLimit):
		t.Error("it runs below its hard reserve")
	}
}
