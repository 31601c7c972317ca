package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"math/big"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/profilenode/profilenode/internal/issuer"
)

// hangUp sends this process SIGHUP. Every node in it reads its certificates again.
func hangUp(t *testing.T) {
	t.Helper()
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if err := self.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

// shownAt is the serial number of the certificate that a port shows to a caller with these flags.
func shownAt(t *testing.T, address string, flags []string) *big.Int {
	t.Helper()
	certificates, err := readCertificates(flags[1], flags[3], flags[5])
	if err != nil {
		t.Fatal(err)
	}
	config := certificates.forCommands()
	config.ServerName, config.NextProtos = "127.0.0.1", []string{"h2"}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	connection, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	return connection.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber
}

// serialOf is the serial number in a certificate file.
func serialOf(t *testing.T, flags []string) *big.Int {
	t.Helper()
	return parseFile(t, flags[1])[0].SerialNumber
}

func parseFile(t *testing.T, file string) []*x509.Certificate {
	t.Helper()
	return issuer.Parse([]byte(read(t, file)))
}

func read(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Certificate, key and authorities are exchanged without a restart, on both ports.
func TestSIGHUPReadsCertificatesAgain(t *testing.T) {
	ca, next := newAuthority(t), newAuthority(t)
	node, game, newGame := ca.issue(t, "node1", nodeUnit), ca.issue(t, "game"), next.issue(t, "game")
	s := beginServe(t, node...)
	var ready string
	select {
	case ready = <-s.out.lines:
	case <-time.After(startLimit):
		t.Fatalf("not ready in %v", startLimit)
	}
	s.clients = field(t, ready, "clients")
	ports := []string{s.clients, field(t, ready, "nodes")}

	hangUp(t)
	awaitText(t, s.errs, "the files hold those that are in force")

	was := serialOf(t, node)
	ca.issue(t, "node1", nodeUnit)
	for _, port := range ports {
		if shownAt(t, port, node).Cmp(was) != 0 {
			t.Fatalf("port %s shows another certificate before it was told to read the files", port)
		}
	}
	hangUp(t)
	awaitText(t, s.errs, "certificates read again, new connections use the new ones")
	for _, port := range ports {
		if shownAt(t, port, node).Cmp(serialOf(t, node)) != 0 {
			t.Errorf("port %s shows the old certificate", port)
		}
	}

	newGame[5] = ca.file // it trusts the node as it is
	s.ask(t, "", append([]string{"status"}, newGame...)...).want(t, exitFailed)
	write(t, ca.file, read(t, ca.file)+read(t, next.file))
	hangUp(t)
	for end := time.Now().Add(10 * time.Second); strings.Count(s.errs.String(), "new connections use the new ones") < 2; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the authorities are not read again")
		}
	}
	s.ask(t, "", append([]string{"status"}, newGame...)...).want(t, exitOK, "leader")
	s.ask(t, "", append([]string{"status"}, game...)...).want(t, exitOK, "leader")
}

// Files that cannot be used leave the certificates in force that are, and the log says why and what to do.
func TestCertificatesThatCannotBeUsedLeaveTheOldOnes(t *testing.T) {
	ca := newAuthority(t)
	node, game := ca.issue(t, "node1", nodeUnit), ca.issue(t, "game")
	other := ca.issue(t, "other", nodeUnit)
	stranger := newAuthority(t).issue(t, "node1", nodeUnit)
	past := newAuthority(t)
	past.certificate, past.key = ca.certificate, ca.key
	past.lasts = -time.Minute
	expired := past.issue(t, "node1", nodeUnit)
	past.lasts, past.address = time.Hour, net.IPv4(127, 0, 0, 9)
	elsewhere := past.issue(t, "node9", nodeUnit)
	s := serveOne(t, node...)
	was := serialOf(t, node)
	goodCertificate, goodKey := read(t, node[1]), read(t, node[3])
	for _, c := range []struct{ name, certificate, key, cause string }{
		{"Mismatch", read(t, other[1]), goodKey, "private key does not match public key"},
		{"WrongRole", read(t, game[1]), read(t, game[3]), "issue it with OU=node"},
		{"OtherAuthority", read(t, stranger[1]), read(t, stranger[3]), "give the file of the authority that signed it"},
		{"Expired", read(t, expired[1]), read(t, expired[3]), "issue a new one"},
		{"OtherAddress", read(t, elsewhere[1]), read(t, elsewhere[3]), "tls-cert is not for 127.0.0.1, by which the other nodes reach this node (bind-nodes), but for 127.0.0.9"},
		{"NoCertificate", "", goodKey, "failed to find any PEM data"},
		{"Missing", "", "", "no such file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.key == "" {
				if err := os.Remove(node[1]); err != nil {
					t.Fatal(err)
				}
			} else {
				write(t, node[1], c.certificate)
				write(t, node[3], c.key)
			}
			hangUp(t)
			awaitText(t, s.errs, c.cause)
			awaitText(t, s.errs, "this node keeps the certificates that it has: correct the files, then send SIGHUP or wait a minute")
			if shownAt(t, s.clients, game).Cmp(was) != 0 {
				t.Error("the node shows another certificate")
			}
			s.ask(t, "", append([]string{"status"}, game...)...).want(t, exitOK, "leader")
		})
	}
	write(t, node[1], goodCertificate)
	write(t, node[3], goodKey)
	hangUp(t)
	awaitText(t, s.errs, "the files hold those that are in force")
}

// SIGHUP ends no node, not one without certificates either.
func TestSIGHUPEndsNoNode(t *testing.T) {
	s := serveOne(t)
	hangUp(t)
	awaitText(t, s.errs, "SIGHUP reads certificates again, and this node has none: it goes on as it is")
	s.ask(t, "", "status").want(t, exitOK, "leader")
}

// openHolder reads the files that these flags name, as a node does.
func openHolder(t *testing.T, log *lockedBuffer, flags []string) *certificateHolder {
	t.Helper()
	c := DefaultConfig()
	c.TLSCert, c.TLSKey, c.TLSCA = flags[1], flags[3], flags[5]
	h, err := openCertificates(c, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// The files are looked at every minute without a signal, a fault is told once, and a certificate that is half replaced is
// taken once its key is there.
func TestCertificatesAreLookedAtEveryMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newAuthority(t)
		node := ca.issue(t, "node1", nodeUnit)
		log := &lockedBuffer{}
		h := openHolder(t, log, node)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go watchCertificates(ctx, h, nil, h.log)
		next := ca.issue(t, "next", nodeUnit)

		write(t, node[1], read(t, next[1]))
		time.Sleep(3*lookEvery + time.Second)
		synctest.Wait()
		if got := strings.Count(log.String(), "cannot be used"); got != 1 {
			t.Errorf("%d warnings of one fault, want 1:\n%s", got, log)
		}
		write(t, node[3], read(t, next[3]))
		time.Sleep(lookEvery)
		synctest.Wait()
		if got, want := h.inForce.Load().own.Leaf.SerialNumber, serialOf(t, next); got.Cmp(want) != 0 {
			t.Errorf("the new certificate is not in force:\n%s", log)
		}
		time.Sleep(3 * lookEvery)
		synctest.Wait()
		if got := strings.Count(log.String(), "certificates read again"); got != 1 {
			t.Errorf("%d lines about one exchange, want 1:\n%s", got, log)
		}
	})
}

// The alarm begins 14 days before the first certificate expires, and names it with its date.
func TestCertificateAlarmBeginsFourteenDaysBefore(t *testing.T) {
	const day = 24 * time.Hour
	for _, c := range []struct {
		name       string
		node, ca   time.Duration
		later      time.Duration // when it is looked at
		want       string        // "": no alarm
		wantSecond string
	}{
		{"Fresh", 90 * day, 900 * day, 0, "", ""},
		{"FifteenDays", 90 * day, 900 * day, 75 * day, "", ""},
		{"ThirteenDays", 90 * day, 900 * day, 77 * day, "in tls-cert ", "it is in force within a minute, or at once after SIGHUP"},
		{"Expired", 90 * day, 900 * day, 91 * day, "has expired", ""},
		{"Authority", 90 * day, 50 * day, 40 * day, "in tls-ca ", "add its successor to the file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ca := newAuthorityFor(t, c.ca)
				ca.lasts = c.node
				node := ca.issue(t, "node1", nodeUnit)
				h := openHolder(t, &lockedBuffer{}, node)
				ends := time.Now().Add(min(c.node, c.ca))
				time.Sleep(c.later)
				standing := h.alarms()
				if c.want == "" {
					if len(standing) > 0 {
						t.Errorf("alarm: %s", standing[0].Text)
					}
					return
				}
				if len(standing) != 1 || standing[0].Code != "CERTIFICATE_EXPIRES" {
					t.Fatalf("alarms: %v", standing)
				}
				for _, want := range []string{c.want, c.wantSecond, ends.UTC().Format(time.DateTime)} {
					if !strings.Contains(standing[0].Text, want) {
						t.Errorf("the alarm says %q, not %q", standing[0].Text, want)
					}
				}
			})
		})
	}
}

// An operator sees the alarm in the status, and it goes once a newer certificate is in force.
func TestCertificateAlarmGoesWithANewCertificate(t *testing.T) {
	const day = 24 * time.Hour
	ca := newAuthorityFor(t, 900*day)
	game := ca.issue(t, "game")
	ca.lasts = 10 * day
	s := serveOne(t, ca.issue(t, "node1", nodeUnit)...)
	status := append([]string{"status"}, game...)
	s.ask(t, "", status...).want(t, exitOK, "alarm CERTIFICATE_EXPIRES at ", time.Now().Add(10*day).UTC().Format(time.DateOnly))
	awaitText(t, s.errs, "code=CERTIFICATE_EXPIRES")
	ca.lasts = 90 * day
	ca.issue(t, "node1", nodeUnit)
	hangUp(t)
	awaitText(t, s.errs, "new connections use the new ones")
	if got := s.ask(t, "", status...); strings.Contains(got.out, "CERTIFICATE_EXPIRES") {
		t.Errorf("the alarm still stands:\n%s", got.out)
	}
	awaitText(t, s.errs, "an alarm or notice stands here no longer")
}
