package main

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestDevFolder(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "dev")
	o := devOptions{data: folder, nodes: 3, base: 7400}

	plan := func(o devOptions, fresh, nodesChosen, baseChosen bool) (devOptions, error) {
		t.Helper()
		o, prepare, err := planDevFolder(o, fresh, nodesChosen, baseChosen)
		if err != nil {
			return o, err
		}
		return o, prepare()
	}
	if _, err := plan(o, false, false, false); err != nil {
		t.Fatalf("a new folder: %v", err)
	}

	got, err := plan(devOptions{data: folder, nodes: 5, base: 9999}, false, false, false)
	if err != nil || got != o {
		t.Errorf("a folder of dev: got %+v and %v, want what is in it, %+v", got, err, o)
	}
	if _, err := plan(devOptions{data: folder, nodes: 5, base: 7400}, false, true, false); err == nil || !strings.Contains(err.Error(), "holds a cluster of 3 nodes from port 7400 on") {
		t.Errorf("another number: got %v", err)
	}

	kept := filepath.Join(folder, "notes.txt")
	gone := filepath.Join(folder, "node1", "anything")
	if err := errors.Join(os.Mkdir(filepath.Dir(gone), 0o700), os.WriteFile(gone, nil, 0o600), os.WriteFile(kept, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if got, err := plan(devOptions{data: folder, nodes: 5, base: 8400}, true, true, true); err != nil || got.nodes != 5 {
		t.Errorf("fresh: got %+v and %v", got, err)
	}
	if _, err := os.Stat(gone); err == nil {
		t.Error("fresh kept a node's data")
	}
	if _, err := os.Stat(kept); err != nil {
		t.Errorf("fresh removed what dev did not make: %v", err)
	}

	stranger := t.TempDir()
	file := filepath.Join(stranger, "node1")
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, fresh := range []bool{false, true} {
		if _, err := plan(devOptions{data: stranger, nodes: 3, base: 7400}, fresh, false, false); err == nil || !strings.Contains(err.Error(), "was not made by profilenode dev") {
			t.Errorf("a stranger's folder, fresh %v: got %v", fresh, err)
		}
	}
	if _, err := os.Stat(file); err != nil {
		t.Errorf("a stranger's file: %v", err)
	}
}

func TestDevFaults(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	if port > 65000 {
		t.Skip("no room above this port")
	}
	folder := filepath.Join(t.TempDir(), "dev")
	for _, test := range []struct {
		name string
		code int
		args []string
		want string
	}{
		{"Even", exitUsage, []string{"--nodes", "2"}, "nodes 2 is none of 1, 3 and 5"},
		{"NoRoom", exitUsage, []string{"--base-port", "65530"}, "base-port 65530 leaves no room"},
		{"PortTaken", exitFailed, []string{"--base-port", strconv.Itoa(port)}, "port " + strconv.Itoa(port) + " (clients of node 1) cannot be used: it is taken"},
		{"NobodyToTell", exitFailed, []string{"--start", "2"}, "no profilenode dev runs on " + folder},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			args := append([]string{"dev", "--data", folder}, test.args...)
			if got := runCommandLine(t.Context(), args, process{strings.NewReader(""), &out, &errs, nil}); got != test.code {
				t.Errorf("exit code: got %d, want %d", got, test.code)
			}
			if !strings.Contains(errs.String(), "profilenode: "+test.want) {
				t.Errorf("got %q, want %q in it", errs.String(), test.want)
			}
			if _, err := os.Stat(folder); err == nil {
				t.Error("a dev that did not start made its folder")
			}
		})
	}
}

func TestReadLogLine(t *testing.T) {
	for line, want := range map[string]string{
		`time=2026-01-01T00:00:00Z level=INFO msg=leads term=2`:                                  "",
		`time=2026-01-01T00:00:00Z level=WARN msg="disk is slow" for=3s`:                         `"disk is slow" for=3s`,
		`time=2026-01-01T00:00:00Z level=ERROR msg="raft: failed to heartbeat" from=raft peer=b`: "",
		`panic: index out of range`: "panic: index out of range",
		``:                          "",
	} {
		got, severe := readLogLine(line)
		if !severe {
			got = ""
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", line, got, want)
		}
	}
}

// devProcess is a dev that runs as a newcomer would run it.
type devProcess struct {
	command *exec.Cmd
	keys    io.Writer
	said    *lockedBuffer
	ended   chan error
}

func startDev(t *testing.T, program, folder string, base int) *devProcess {
	t.Helper()
	d := &devProcess{said: &lockedBuffer{}, ended: make(chan error, 1)}
	d.command = exec.Command(program, "dev", "--data", folder, "--base-port", strconv.Itoa(base))
	d.command.Stdout, d.command.Stderr = d.said, d.said
	keys, err := d.command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	d.keys = keys
	if err := d.command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { d.ended <- d.command.Wait() }()
	t.Cleanup(func() {
		_ = d.command.Process.Kill() // it may have ended; its nodes end with it
		if t.Failed() {
			t.Logf("dev said:\n%s", d.said)
		}
	})
	return d
}

// says waits for a line, and returns what its groups matched.
func (d *devProcess) says(t *testing.T, pattern string) []string {
	t.Helper()
	line := regexp.MustCompile("(?m)^" + pattern + "$")
	for deadline := time.Now().Add(startLimit); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if found := line.FindStringSubmatch(d.said.String()); found != nil {
			return found[1:]
		}
		select {
		case err := <-d.ended:
			d.ended <- err
			t.Fatalf("dev ended: %v", err)
		default:
		}
	}
	t.Fatalf("dev never said %q", pattern)
	return nil
}

// nobodyAt waits until nobody listens at any of these addresses.
func nobodyAt(t *testing.T, addresses []string) {
	t.Helper()
	for deadline := time.Now().Add(stopLimit + 5*time.Second); ; time.Sleep(20 * time.Millisecond) {
		open := 0
		for _, address := range addresses {
			if connection, err := net.Dial("tcp", address); err == nil {
				_ = connection.Close()
				open++
			}
		}
		if open == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d nodes still listen", open)
		}
	}
}

func TestDev(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	program := buildProgram(t)
	folder := filepath.Join(t.TempDir(), "dev")
	o := devOptions{data: folder, nodes: 3, base: freeBase(t)}
	clients := splitCommaList(o.nodeAddresses(clientsPort))
	s := &served{clients: o.nodeAddresses(clientsPort)}
	tell := func(args ...string) asked {
		t.Helper()
		return s.ask(t, "", append([]string{"dev", "--data", folder}, args...)...)
	}

	d := startDev(t, program, folder, o.base)
	d.says(t, "ready")
	s.ask(t, "{}", "set", store, "kept", "-").want(t, exitOK)
	tell().want(t, exitFailed, "profilenode dev runs on "+folder+" already")
	tell("--start", "2").want(t, exitFailed, "node 2 runs already, pid ")
	tell("--kill", "4").want(t, exitFailed, "not understood")

	pid, err := strconv.Atoi(d.says(t, `  kill -9 (\d+) *# node 2.*`)[0])
	if err != nil {
		t.Fatal(err)
	}
	victim, err := os.FindProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Kill(); err != nil {
		t.Fatal(err)
	}
	d.says(t, `node 2 \(pid `+strconv.Itoa(pid)+`\) died \(signal: killed\); start it again with Enter, or .* dev --start 2 --data .*`)
	if _, err := io.WriteString(d.keys, "\n"); err != nil {
		t.Fatal(err)
	}
	d.says(t, `node 2 is back \(pid \d+\): kill -9 \d+`)
	tell("--kill", "3").want(t, exitOK, "node 3 killed, pid ")
	d.says(t, `node 3 \(pid \d+\) died .*`)
	tell("--start", "3").want(t, exitOK, "node 3 started, pid ")
	d.says(t, `node 3 is back .*`)

	// However dev ends, its nodes do.
	if err := d.command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-d.ended
	nobodyAt(t, clients)

	// It goes on with what is there, and stops in order.
	d = startDev(t, program, folder, o.base)
	d.says(t, "ready")
	s.ask(t, "", "get", store, "kept").want(t, exitOK, "{}")
	s.ask(t, "", "digest").want(t, exitOK, "all agree")
	d.stopsOn(t, os.Interrupt)
	nobodyAt(t, clients)

	// It stops in order with its terminal too.
	d = startDev(t, program, folder, o.base)
	d.says(t, "ready")
	d.stopsOn(t, syscall.SIGHUP)
	nobodyAt(t, clients)
}

// stopsOn sends a signal and waits until dev has stopped in order.
func (d *devProcess) stopsOn(t *testing.T, signal os.Signal) {
	t.Helper()
	if err := d.command.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-d.ended:
		if err != nil {
			t.Errorf("dev ended with %v on %v, want exit code 0", err, signal)
		}
	case <-time.After(stopLimit + 5*time.Second):
		t.Fatalf("dev does not stop on %v", signal)
	}
}

// freeBase finds a first port for which every port of three nodes is free.
func freeBase(t *testing.T) int {
	t.Helper()
	for base := 21000; base < 60000; base += 137 {
		if (devOptions{nodes: 3, base: base}).checkPorts() == nil {
			return base
		}
	}
	t.Fatal("no free ports")
	return 0
}
