package wire

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/profilenode/profilenode/api/profilev1"
)

// authority signs certificates for tests.
type authority struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	signed := a.sign(&x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	})
	a.key, a.cert = signed.PrivateKey.(*ecdsa.PrivateKey), signed.Leaf
	return a
}

func (a *authority) sign(template *x509.Certificate) tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	parent, by := template, key
	if a.cert != nil {
		parent, by = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
	if err != nil {
		a.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// issue signs a certificate for an address, or for any with "", that ends in a while from now.
func (a *authority) issue(address string, ends time.Duration) tls.Certificate {
	a.t.Helper()
	return a.sign(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "test"}, IPAddresses: []net.IP{net.ParseIP(address)},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(ends),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// here answers on a port of this host until the test ends.
func here(t *testing.T, serve func(net.Listener)) string {
	t.Helper()
	port, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); serve(port) }()
	t.Cleanup(func() { _ = port.Close(); <-done })
	return port.Addr().String()
}

func node(t *testing.T, config *tls.Config) string {
	t.Helper()
	var options []grpc.ServerOption
	if config != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(config)))
	}
	server := grpc.NewServer(options...)
	profilev1.RegisterProfilesServer(server, profilev1.UnimplementedProfilesServer{})
	t.Cleanup(server.Stop)
	return here(t, func(port net.Listener) { _ = server.Serve(port) })
}

// eachConn hands every connection to f.
func eachConn(t *testing.T, f func(net.Conn)) string {
	t.Helper()
	return here(t, func(port net.Listener) {
		for {
			conn, err := port.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = conn.Close() })
			go f(conn)
		}
	})
}

func browserPort(t *testing.T) string {
	t.Helper()
	server := &http.Server{Handler: http.NotFoundHandler(), ReadHeaderTimeout: time.Minute}
	t.Cleanup(func() { _ = server.Close() })
	return here(t, func(port net.Listener) { _ = server.Serve(port) })
}

func TestEveryWrongPortSaysWhatItAnswered(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	serving := func(c tls.Certificate) *tls.Config {
		return &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{c}}
	}
	good := ca.issue("127.0.0.1", time.Hour)
	asksForOurs := serving(good)
	asksForOurs.ClientCAs, asksForOurs.ClientAuth = ca.pool(), tls.RequireAndVerifyClientCert
	trusts := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: ca.pool()}
	shows := func(c tls.Certificate) *tls.Config {
		return &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: ca.pool(), Certificates: []tls.Certificate{c}}
	}
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	silent := eachConn(t, func(net.Conn) {})
	closing := eachConn(t, func(c net.Conn) { _, _ = c.Read(make([]byte, 64)); _ = c.Close() })
	nodesPort := eachConn(t, func(c net.Conn) { // TLS without HTTP/2
		secured := tls.Server(c, serving(good))
		_ = secured.HandshakeContext(context.Background())
		_ = secured.Close()
	})

	for _, test := range []struct {
		name    string
		address string
		config  *tls.Config // nil: this side speaks in the clear
		want    Problem
		says    string
	}{
		{"closed port", closed.Addr().String(), nil, RefusedConnection, "connection refused"},
		{"silent port", silent, nil, Silent, "never answers"},
		{"silent port, with TLS", silent, trusts, Silent, "never answers"},
		{"port of something else", closing, nil, ClosedAtOnce, "no port for clients"},
		{"port of something else, with TLS", closing, trusts, ClosedAtOnce, "no port for clients"},
		{"nodes port with TLS", nodesPort, trusts, SpeaksOther, "no port of a profilenode for clients"},
		{"HTTP port", browserPort(t), nil, SpeaksHTTP, "HTTP port"},
		{"HTTP port, with TLS", browserPort(t), trusts, SpeaksHTTP, "HTTP port"},
		{"TLS, and this side without", node(t, serving(good)), nil, SpeaksTLS, "it speaks TLS, and this side does not"},
		{"plain, and this side with TLS", node(t, nil), trusts, SpeaksPlain, "does not speak TLS"},
		{"expired", node(t, serving(ca.issue("127.0.0.1", -time.Hour))), trusts, CertificateExpired, "expired on 20"},
		{"of another authority", node(t, serving(other.issue("127.0.0.1", time.Hour))), trusts, CertificateUntrusted, "does not trust"},
		{"for another address", node(t, serving(ca.issue("127.0.0.9", time.Hour))), trusts, CertificateOfOther, "127.0.0.9, not 127.0.0.1"},
		{"without our certificate", node(t, asksForOurs), trusts, TurnedAway, "this side's certificate"},
		{"with an expired one of ours", node(t, asksForOurs), shows(ca.issue("127.0.0.1", -time.Hour)), TurnedAway, "this side's certificate"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			creds := insecure.NewCredentials()
			if test.config != nil {
				creds = credentials.NewTLS(test.config)
			}
			l, err := Connect(test.address, LinkConfig{Credentials: creds})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(l.Close)
			err = l.WaitReady(t.Context())
			var failed *ConnectError
			if !errors.As(err, &failed) || !strings.HasPrefix(err.Error(), "node "+test.address+": ") {
				t.Fatalf("got %v, want a *ConnectError of node %s", err, test.address)
			}
			if failed = l.Explain(t.Context()); failed == nil || failed.Problem != test.want || !strings.Contains(failed.Error(), test.says) {
				t.Errorf("got %v, want problem %d with %q", failed, test.want, test.says)
			}
		})
	}
}

func TestANodeThatIsReachedHasNoProblem(t *testing.T) {
	ca := newAuthority(t)
	for name, config := range map[string]*tls.Config{"plain": nil, "TLS": {MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{ca.issue("127.0.0.1", time.Hour)}}} {
		creds := insecure.NewCredentials()
		if config != nil {
			creds = credentials.NewTLS(&tls.Config{RootCAs: ca.pool()})
		}
		l, err := Connect(node(t, config), LinkConfig{Credentials: creds})
		if err != nil {
			t.Fatal(err)
		}
		if err := l.WaitReady(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if failed := l.Explain(t.Context()); failed != nil {
			t.Errorf("%s: got %v, want no problem", name, failed)
		}
		l.Close()
	}
}
