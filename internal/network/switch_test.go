package network

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

// serverVariable makes the test binary connect to the address in it, send it stdin, and print its answers.
const serverVariable = "NETWORK_TEST_CONNECT_TO"

func TestMain(m *testing.M) {
	if to := os.Getenv(serverVariable); to != "" {
		os.Exit(connectTo(to))
	}
	os.Exit(m.Run())
}

func connectTo(address string) int {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		_, _ = os.Stderr.WriteString(err.Error() + "\n")
		return 1
	}
	go func() { _, _ = io.Copy(conn, os.Stdin) }()
	_, _ = io.Copy(os.Stdout, conn)
	return 0
}

// While its packets are dropped, a process on another host is not heard and not told; afterwards the kernel sends again.
func TestSwitch(t *testing.T) {
	s, err := OpenSwitch(1)
	if err != nil {
		t.Skipf("no namespaces here: %v", err)
	}
	defer s.Close()
	port, err := net.Listen("tcp", s.Hosts[0].At(0))
	if err != nil {
		t.Fatal(err)
	}
	defer port.Close()
	inside := exec.Command(os.Args[0])
	inside.Env = append(os.Environ(), serverVariable+"="+port.Addr().String())
	stdin, err := inside.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Hosts[1].Start(inside); err != nil {
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
	if host, _, _ := net.SplitHostPort(conn.RemoteAddr().String()); host != s.Hosts[1].Address.String() {
		t.Errorf("it came from %s, want %s", host, s.Hosts[1].Address)
	}
	send := func(line string) {
		if _, err := io.WriteString(stdin, line+"\n"); err != nil {
			t.Fatal(err)
		}
	}
	receive := func(limit time.Duration) (string, error) {
		_ = conn.SetReadDeadline(time.Now().Add(limit))
		line, err := bufio.NewReader(conn).ReadString('\n')
		return strings.TrimSpace(line), err
	}
	send("before")
	if got, err := receive(10 * time.Second); got != "before" {
		t.Fatalf("got %q, %v, want %q", got, err, "before")
	}
	s.Drop(MatchPairs(Pair{From: 1, To: 0}))
	send("during")
	if got, err := receive(300 * time.Millisecond); got != "" || !os.IsTimeout(err) {
		t.Errorf("across the cut came %q, %v, want nothing", got, err)
	}
	if s.Dropped() == 0 {
		t.Error("no packet was dropped")
	}
	s.Drop(nil)
	if got, err := receive(10 * time.Second); got != "during" {
		t.Errorf("after the cut: got %q, %v, want %q", got, err, "during")
	}
}

func TestNothingIsLeftOfASwitch(t *testing.T) {
	s, err := OpenSwitch(1)
	if err != nil {
		t.Skipf("no namespaces here: %v", err)
	}
	address := s.Hosts[0].Address.String()
	s.Close()
	for deadline := time.Now().Add(5 * time.Second); hasAddress(t, address); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s is still there", address)
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
