package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/profilenode/profilenode/internal/nodeproc"
)

// runCert runs a command of cert in this process.
func runCert(t *testing.T, args ...string) asked {
	t.Helper()
	var out, errs bytes.Buffer
	code := runCommandLine(t.Context(), append([]string{"cert"}, args...), process{strings.NewReader(""), &out, &errs, nil})
	return asked{code, out.String(), errs.String()}
}

// The five commands of docs/certificates.md run as they stand there, but for the ports.
func TestFromNothingToTLSInFiveCommands(t *testing.T) {
	page, err := os.ReadFile("../../docs/certificates.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, found := strings.Cut(string(page), "```\nprofilenode cert cluster")
	block, _, ended := strings.Cut("profilenode cert cluster"+block, "\n```")
	lines := strings.Split(block, "\n")
	if !found || !ended || len(lines) != 5 {
		t.Fatalf("the page does not begin with a block of five commands, but with %q", lines)
	}
	free := freeAddresses(t, 12)
	for i, port := range []string{"7400", "7401", "7402", "7403", "7410", "7411", "7412", "7413", "7420", "7421", "7422", "7423"} {
		for line := range lines {
			lines[line] = strings.ReplaceAll(lines[line], "127.0.0.1:"+port, free[i])
		}
	}
	program, folder := buildProgram(t), t.TempDir()
	clients := strings.Join([]string{free[0], free[4], free[8]}, ",")
	prepare := func(line string) *exec.Cmd {
		fields := strings.Fields(line)
		command := exec.CommandContext(t.Context(), program, fields[1:]...)
		command.Dir, command.Env = folder, append(nodeproc.Environ(), addrVariable+"="+clients)
		return command
	}
	if out, err := prepare(lines[0]).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, line := range lines[1:4] {
		node, log := prepare(line), &lockedBuffer{}
		node.Stderr = log
		if err := node.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() {
			_ = node.Process.Kill()
			_ = node.Wait()
			if t.Failed() {
				t.Logf("%s\n%s", line, log)
			}
		}()
	}
	deadline := time.Now().Add(startLimit)
	for {
		out, err := prepare(lines[4]).CombinedOutput()
		if err == nil && strings.Count(string(out), "follower") == 2 && strings.Count(string(out), "leader") == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no cluster of three:\n%s", out)
		}
		time.Sleep(50 * time.Millisecond)
	}
	// It may be run again, and changes nothing.
	if out, err := prepare(lines[0]).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("the second time: %v\n%s", err, out)
	}
}

func TestCertCommands(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "certs")
	file := func(name string) string { return filepath.Join(dir, name) }
	runCert(t, "node", "n1", "--host", "n1", "--dir", dir).want(t, exitFailed, "profilenode cert ca makes one")
	runCert(t, "ca", "--dir", dir).want(t, exitOK, "made "+file("ca.key"), "next: profilenode cert node")
	runCert(t, "ca", "--dir", dir).want(t, exitFailed, "file already exists", "--rotate")
	runCert(t, "node", "n1", "--dir", dir).want(t, exitFailed, "needs the hosts")
	runCert(t, "node", "n1", "--host", "n1,127.0.0.1", "--dir", dir).want(t, exitOK, "a node at n1, 127.0.0.1", "next: profilenode serve --tls-cert")
	runCert(t, "client", "game", "--dir", dir, "--days", "10").want(t, exitOK, "a game server or an operator")
	runCert(t, "client", "game", "--dir", dir, "--days", "0").want(t, exitUsage, "--days 0")
	runCert(t, "client", "game", "--dir", dir).want(t, exitFailed, "cert renew replaces it")
	runCert(t, "renew", "game", "--dir", dir, "--new-key").want(t, exitOK, "kept what was there as "+file("game.key.1"))
	runCert(t, "renew", "nobody", "--dir", dir).want(t, exitFailed, "nobody", "no such file")
	runCert(t, "cluster", "--node", "n1", "--dir", dir).want(t, exitUsage, "name=host,host")
	runCert(t, "cluster", "--node", "n1=n1", "--client", "n1", "--dir", dir).want(t, exitUsage, "named twice")
	runCert(t, "cluster", "--node", "n1=n1", "--node", "n2=n2", "--dir", dir).want(t, exitOK, "made "+file("n2.key"))
}

// What cert show finds wrong, a node at its start finds wrong too.
func TestCertShow(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "certs")
	file := func(name string) string { return filepath.Join(dir, name) }
	runCert(t, "cluster", "--node", "n1=n1,127.0.0.1", "--node", "n2=n2", "--client", "game", "--dir", dir).want(t, exitOK)
	other := filepath.Join(t.TempDir(), "other")
	runCert(t, "cluster", "--node", "n1=127.0.0.1", "--dir", other).want(t, exitOK)

	runCert(t, "show", file("n1.crt"), file("game.crt"), file("ca.crt"), file("game.key")).want(t, exitOK,
		"good for   a node at n1, 127.0.0.1", "364 days left", "good for   a game server or an operator", "an authority, which signs others", "n1.key belongs to it")
	runCert(t, "show").want(t, exitUsage, "files to show")
	runCert(t, "show", file("absent.crt")).want(t, exitFailed, "WRONG", "no such file", "put it there")
	runCert(t, "show", file("n1.crt"), "--host", "n2").want(t, exitFailed, "WRONG", "is not for n2", "but for n1, 127.0.0.1")
	runCert(t, "show", file("n1.crt"), "--ca", filepath.Join(other, "ca.crt")).want(t, exitFailed, "WRONG", "not signed by an authority in tls-ca")
	runCert(t, "show", file("n1.crt"), "--key", file("n2.key")).want(t, exitFailed, "WRONG", "made together")
	runCert(t, "show", file("game.crt"), "--host", "n1").want(t, exitFailed, "WRONG", "organizational unit")
	if err := os.Chmod(file("game.key"), 0o644); err != nil {
		t.Fatal(err)
	}
	runCert(t, "show", file("game.crt")).want(t, exitFailed, "WRONG", "chmod 600")

	config := filepath.Join(t.TempDir(), "node.yaml")
	for name, c := range map[string]struct {
		cert string
		code int
		want string
	}{
		"Right": {"n1", exitOK, "good for   a node at n1"},
		"Hosts": {"n2", exitFailed, "tls-cert is not for 127.0.0.1, by which the other nodes reach this node (bind-nodes), but for n2"},
		"Role":  {"game", exitFailed, "issue it with OU=node"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.Chmod(file(c.cert+".key"), 0o600); err != nil {
				t.Fatal(err)
			}
			write(t, config, "tls-cert: "+file(c.cert+".crt")+"\ntls-key: "+file(c.cert+".key")+"\ntls-ca: "+file("ca.crt")+"\nbind-gossip: ''\n")
			runCert(t, "show", "--config", config).want(t, c.code, c.want)
			if c.code == exitOK {
				return
			}
			var out, errs bytes.Buffer
			code := runCommandLine(t.Context(), []string{"serve", "--config", config, "--data", t.TempDir()}, process{nil, &out, &errs, nil})
			asked{code, out.String(), errs.String()}.want(t, exitUsage, c.want)
		})
	}
}
