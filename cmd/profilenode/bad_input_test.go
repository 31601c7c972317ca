//go:build unix

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// failStart runs serve with flags, which must end by itself, and returns what it said.
func failStart(t *testing.T, flags ...string) asked {
	t.Helper()
	var out, errs bytes.Buffer
	args := append([]string{
		"serve", "--data", filepath.Join(t.TempDir(), "data"), "--bind", "127.0.0.1:0", "--bind-nodes", "127.0.0.1:0", "--bind-gossip", "", "--bind-http", "",
	}, flags...)
	code := runCommandLine(t.Context(), args, process{strings.NewReader(""), &out, &errs, nil})
	return asked{code, out.String(), errs.String()}
}

// What is wrong at a start is one line that names it and the remedy, and an exit code.
func TestBadInput(t *testing.T) {
	certs := filepath.Join(t.TempDir(), "certs")
	runCert(t, "cluster", "--node", "here=127.0.0.1", "--node", "away=node9.example.org", "--client", "game", "--dir", certs).want(t, exitOK)
	foreign := filepath.Join(t.TempDir(), "foreign")
	runCert(t, "cluster", "--node", "here=127.0.0.1", "--dir", foreign).want(t, exitOK)
	files := func(folder, name, ca string) []string {
		return []string{"--tls-cert", filepath.Join(folder, name+".crt"), "--tls-key", filepath.Join(folder, name+".key"), "--tls-ca", filepath.Join(ca, "ca.crt")}
	}
	s := serveOne(t, files(certs, "here", certs)...)
	for _, c := range []struct {
		name  string
		flags []string
		code  int
		want  string
	}{
		{"MissingCertificate", files(certs, "absent", certs), exitUsage, "put it there, or correct the setting"},
		{"ForeignCertificate", files(foreign, "here", certs), exitUsage, "give the file of the authority that signed it"},
		{"WrongRole", files(certs, "game", certs), exitUsage, "issue it with OU=node"},
		{"WrongHost", files(certs, "away", certs), exitUsage, "tls-cert is not for 127.0.0.1, by which the other nodes reach this node (bind-nodes), but for node9.example.org: issue it for that host too, or correct bind-nodes"},
		{"NoPEM", append(files(certs, "here", certs)[:4], "--tls-ca", filepath.Join(certs, "game.key")), exitUsage, "holds no certificate in PEM form"},
		{"PortInUse", []string{"--bind", s.clients}, exitFailed, "hint: another process has this port: stop it, or choose another"},
		{"OneNameTwice", []string{"--nodes", "127.0.0.1:7401,127.0.0.1:7401,127.0.0.1:7411"}, exitUsage, "nodes names 127.0.0.1:7401 twice: name every node once"},
		{"NotListed", []string{"--nodes", "127.0.0.1:7401,127.0.0.1:7411"}, exitUsage, "nodes does not contain this node's own address"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := failStart(t, c.flags...)
			got.want(t, c.code, c.want)
			if strings.Count(got.errs, c.want) != 1 || strings.Contains(got.errs, "goroutine") {
				t.Errorf("want it to be said once:\n%s", got.errs)
			}
		})
	}
}

// A certificate that has expired keeps no node from starting: its successor is taken without a restart.
func TestAnExpiredCertificateIsAWarning(t *testing.T) {
	ca := newAuthority(t)
	ca.lasts = -1
	s := beginServe(t, ca.issue(t, "node1", nodeUnit)...)
	awaitText(t, s.errs, "other nodes and game servers refuse this node's certificate until it is replaced")
	awaitText(t, s.errs, "issue a new one")
}

// What only another user, or a process with a limit of its own, runs into.
func TestBadInputOfTheProcess(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root starts processes of other users")
	}
	program := buildProgram(t)
	if err := os.Chmod(filepath.Dir(program), 0o755); err != nil {
		t.Fatal(err)
	}
	// Folders of the test are closed to others; this one is not.
	open, err := os.MkdirTemp("", "bad-input")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(open) })
	if err := os.Chmod(open, 0o755); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(open, "profilenode")
	binary, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(copied, binary, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(open, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	certs := filepath.Join(open, "certs")
	runCert(t, "cluster", "--node", "n1=127.0.0.1", "--dir", certs).want(t, exitOK)
	if err := os.Chmod(certs, 0o755); err != nil {
		t.Fatal(err)
	}
	serve := copied + " serve --bind 127.0.0.1:0 --bind-nodes 127.0.0.1:0 --bind-gossip '' --bind-http '' --exit-with-stdin"
	for _, c := range []struct{ name, line, want string }{
		{"FolderOfAnother", serve + " --data " + filepath.Join(open, "data"), "give the folder and all in it to the user that runs this node"},
		{"UnreadableKey", serve + " --data " + filepath.Join(open, "none") + " --tls-cert " + certs + "/n1.crt --tls-key " + certs + "/n1.key --tls-ca " + certs + "/ca.crt",
			"let the user that this process runs as read it"},
		{"FewOpenFiles", "ulimit -n 64; exec " + serve + " --data " + filepath.Join(open, "none"), "raise LimitNOFILE (ulimit -n)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			command := exec.CommandContext(t.Context(), "sh", "-c", c.line)
			command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
			command.Dir = open
			out, err := command.CombinedOutput()
			if err == nil || strings.Count(string(out), c.want) != 1 {
				t.Errorf("%v\n%s\nwant %q in it, once", err, out, c.want)
			}
		})
	}
}
