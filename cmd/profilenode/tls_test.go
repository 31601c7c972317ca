package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority signs certificates for these tests.
type authority struct {
	folder      string
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	file        string
	lasts       time.Duration // certificates that it issues
	address     net.IP        // that these are for
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	return newAuthorityFor(t, time.Hour)
}

// newAuthorityFor makes one that expires after a while.
func newAuthorityFor(t *testing.T, lasts time.Duration) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{folder: t.TempDir(), key: key, lasts: time.Hour, address: net.IPv4(127, 0, 0, 1)}
	a.certificate = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(lasts), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, a.certificate, a.certificate, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	a.file = a.write(t, "ca.pem", "CERTIFICATE", der)
	return a
}

// issue makes a certificate for this machine, and returns the flags that name it.
func (a *authority) issue(t *testing.T, name string, units ...string) []string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name, OrganizationalUnit: units},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(a.lasts),
		IPAddresses: []net.IP{a.address}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return []string{
		"--tls-cert", a.write(t, name+".pem", "CERTIFICATE", der), "--tls-key", a.write(t, name+".key", "EC PRIVATE KEY", secret), "--tls-ca", a.file,
	}
}

func (a *authority) write(t *testing.T, name, kind string, der []byte) string {
	t.Helper()
	path := filepath.Join(a.folder, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTLS(t *testing.T) {
	ca := newAuthority(t)
	node, game := ca.issue(t, "node1", nodeUnit), ca.issue(t, "game")
	s := serveOne(t, node...)

	s.ask(t, "", append([]string{"status"}, game...)...).want(t, exitOK, "leader")
	s.ask(t, "{}", append([]string{"set", "a", "b", "-"}, game...)...).want(t, exitOK)
	s.ask(t, "", "status").want(t, exitFailed)
	s.ask(t, "", "status", "--tls-ca", ca.file).want(t, exitFailed)
	s.ask(t, "", append([]string{"status"}, newAuthority(t).issue(t, "stranger")...)...).want(t, exitFailed)
}

// Three nodes find each other over TLS; what a game server may show does not open the nodes port.
func TestTLSBetweenNodes(t *testing.T) {
	ca := newAuthority(t)
	node, game := ca.issue(t, "node", nodeUnit), ca.issue(t, "game")
	nodes := freeAddresses(t, 3)
	var all []*served
	for _, address := range nodes {
		all = append(all, beginServe(t, append([]string{"--bind-nodes", address, "--nodes", strings.Join(nodes, ",")}, node...)...))
	}
	var clients []string
	for _, s := range all {
		s.awaitReady(t)
		clients = append(clients, s.clients)
	}
	status := (&served{clients: strings.Join(clients, ",")}).ask(t, "", append([]string{"status", "--json"}, game...)...)
	status.want(t, exitOK, `"state": "leader"`)
	if got, want := strings.Count(status.out, `"reachable": true`), len(nodes); got != want {
		t.Errorf("%d nodes answer, want %d:\n%s", got, want, status.out)
	}

	for name, flags := range map[string][]string{"node": node, "game": game} {
		certificates, err := readCertificates(flags[1], flags[3], flags[5])
		if err != nil {
			t.Fatal(err)
		}
		config := certificates.forCommands()
		config.ServerName = "127.0.0.1"
		err = greet(t, nodes[0], config)
		if opened := err == nil; opened != (name == "node") {
			t.Errorf("the nodes port answers a %s's certificate with %v", name, err)
		}
	}

	var out, errs bytes.Buffer
	args := append([]string{"serve", "--data", t.TempDir(), "--bind", "127.0.0.1:0", "--bind-nodes", "127.0.0.1:0", "--bind-gossip", "", "--bind-http", ""}, game...)
	if got := runCommandLine(t.Context(), args, process{nil, &out, &errs, nil}); got != exitUsage || !strings.Contains(errs.String(), "issue it with OU=node") {
		t.Errorf("a node with a game server's certificate: got %d and %q", got, errs.String())
	}
}

// greet connects and says whether the other end took our certificate, which TLS 1.3 tells only after the handshake: an
// alert comes instead of silence.
func greet(t *testing.T, address string, config *tls.Config) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	connection, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer connection.Close()
	_ = connection.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
	_, err = connection.Read(make([]byte, 1))
	if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
		return nil
	}
	return err
}

// An operator sees in the node's log why a game server or a node cannot connect, on both ports, and of each host once.
func TestFailedHandshakesAreLogged(t *testing.T) {
	ca := newAuthority(t)
	node, game, stranger := ca.issue(t, "node1", nodeUnit), ca.issue(t, "game"), newAuthority(t).issue(t, "stranger")
	trusting := func(flags []string) *tls.Config {
		certificates, err := readCertificates(flags[1], flags[3], ca.file)
		if err != nil {
			t.Fatal(err)
		}
		config := certificates.forCommands()
		config.ServerName, config.NextProtos = "127.0.0.1", []string{"h2"}
		return config
	}
	bare := trusting(game)
	bare.Certificates = nil
	wary := trusting(game)
	wary.RootCAs = x509.NewCertPool()

	for _, c := range []struct {
		name, port string
		config     *tls.Config // nil: plain
		cause      string
	}{
		{"PlainClient", "clients", nil, "it does not speak TLS, and this node does"},
		{"PlainNode", "nodes", nil, "it does not speak TLS, and this node does"},
		{"ClientOfAnotherAuthority", "clients", trusting(stranger), "its certificate is signed by an authority that this node does not trust"},
		{"ClientWithoutCertificate", "clients", bare, "it shows no certificate"},
		{"ClientThatDoesNotTrust", "clients", wary, "it does not accept this node's certificate: bad certificate"},
		{"GameServerAsNode", "nodes", trusting(game), "it is no node"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := beginServe(t, node...)
			var ready string
			select {
			case ready = <-s.out.lines:
			case <-time.After(startLimit):
				t.Fatalf("not ready in %v", startLimit)
			}
			for range 3 {
				if c.config != nil {
					_ = greet(t, field(t, ready, c.port), c.config)
					continue
				}
				plain, err := net.Dial("tcp", field(t, ready, c.port))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := plain.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")); err != nil {
					t.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, plain) // until the node has ended it
				_ = plain.Close()
			}
			awaitText(t, s.errs, c.cause)
			log := s.errs.String()
			if got := strings.Count(log, "a TLS handshake failed"); got != 1 || !strings.Contains(log, "port="+c.port+" from=127.0.0.1:") {
				t.Errorf("%d lines of failed handshakes, want one of port %s:\n%s", got, c.port, log)
			}
		})
	}
}

// An operator sees in the log of a node without TLS that a game server or a node speaks TLS to it, and what to do.
func TestTLSToAPlainPortIsLogged(t *testing.T) {
	s := beginServe(t)
	var ready string
	select {
	case ready = <-s.out.lines:
	case <-time.After(startLimit):
		t.Fatalf("not ready in %v", startLimit)
	}
	for _, port := range []string{"clients", "nodes"} {
		for range 3 {
			if err := greet(t, field(t, ready, port), &tls.Config{MinVersion: tls.VersionTLS13, ServerName: "127.0.0.1"}); err == nil {
				t.Errorf("the %s port without TLS finished a TLS handshake", port)
			}
		}
		awaitText(t, s.errs, "port="+port+" from=127.0.0.1:")
	}
	log := s.errs.String()
	if got := strings.Count(log, "level=WARN msg=\"a TLS handshake failed\""); got != 2 {
		t.Errorf("%d warnings, want one of each port", got)
	}
	if got := strings.Count(log, "it speaks TLS, and this node does not: give this node tls-cert, tls-key and tls-ca, or connect without TLS"); got != 2 {
		t.Errorf("%d of the warnings say the cause and what to do, want both", got)
	}
}

// awaitText waits until a log says something.
func awaitText(t *testing.T, log *lockedBuffer, text string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !strings.Contains(log.String(), text); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the log does not say %q:\n%s", text, log)
		}
	}
}
