package main

import (
	"bufio"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// inNamespace is set for the test binary when it is started to speak out of a namespace.
const inNamespace = "PROFILENODE_BENCH_SPEAK_TO"

func TestMain(m *testing.M) {
	if to := os.Getenv(inNamespace); to != "" {
		os.Exit(speak(to))
	}
	if len(os.Args) > 1 && os.Args[1] == "game-server" { // a measurement starts its own program as game servers
		main()
		return
	}
	os.Exit(m.Run())
}

// speak sends each line of stdin to an address, and its answers to stdout.
func speak(to string) int {
	conn, err := net.Dial("tcp", to)
	if err != nil {
		_, _ = os.Stderr.WriteString(err.Error() + "\n")
		return 1
	}
	go func() { _, _ = io.Copy(conn, os.Stdin) }()
	_, _ = io.Copy(os.Stdout, conn)
	return 0
}

// Across the link a process inside is heard; cut, nothing passes and nobody is told; healed, what was sent meanwhile comes.
func TestLink(t *testing.T) {
	l, err := openNetLink()
	if err != nil {
		t.Skipf("no namespaces here: %v", err)
	}
	closed := false
	defer func() {
		if !closed {
			l.closeLink()
		}
	}()
	port, err := net.Listen("tcp", l.outside.String()+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer port.Close()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	inside := exec.Command(program)
	inside.Env = append(os.Environ(), inNamespace+"="+port.Addr().String())
	stdin, err := inside.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.startProcess(inside); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = inside.Process.Kill()
		_ = inside.Wait()
	}()
	_ = port.(*net.TCPListener).SetDeadline(time.Now().Add(10 * time.Second))
	conn, err := port.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if host, _, _ := net.SplitHostPort(conn.RemoteAddr().String()); host != l.inside.String() {
		t.Errorf("it came from %s, want %s", host, l.inside)
	}
	hear := func(limit time.Duration) (string, error) {
		_ = conn.SetReadDeadline(time.Now().Add(limit))
		line, err := bufio.NewReader(conn).ReadString('\n')
		return strings.TrimSpace(line), err
	}
	say := func(text string) {
		if _, err := io.WriteString(stdin, text+"\n"); err != nil {
			t.Fatal(err)
		}
	}
	say("before")
	if got, err := hear(10 * time.Second); got != "before" {
		t.Fatalf("got %q, %v, want %q", got, err, "before")
	}
	l.cutAll()
	say("during")
	if got, err := hear(300 * time.Millisecond); got != "" || !os.IsTimeout(err) {
		t.Errorf("across the cut came %q, %v, want nothing", got, err)
	}
	if dropped := l.healAll(); dropped == 0 {
		t.Error("no packet was dropped")
	}
	if got, err := hear(10 * time.Second); got != "during" {
		t.Errorf("after the heal: got %q, %v, want %q", got, err, "during")
	}
	outside := l.outside
	l.closeLink()
	closed = true
	for deadline := time.Now().Add(5 * time.Second); hasAddress(t, outside.String()); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s is still there", outside)
		}
	}
}

func hasAddress(t *testing.T, want string) bool {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		if strings.HasPrefix(a.String(), want+"/") {
			return true
		}
	}
	return false
}
