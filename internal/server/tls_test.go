package server_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/internal/server"
)

// certify makes what a server and its callers need to speak TLS.
func certify(t *testing.T) (*tls.Config, credentials.TransportCredentials) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"node"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(certificate)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{raw}, PrivateKey: key}}},
		credentials.NewTLS(&tls.Config{RootCAs: roots, ServerName: "node"})
}

// With TLS only those get in who speak it.
func TestTLS(t *testing.T) {
	secure, trusting := certify(t)
	hub := server.NewHub()
	s := server.NewOn(newFake(t, hub), server.Config{Hub: hub, TLS: secure})
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(lis) }()
	t.Cleanup(func() {
		s.Close(context.Background())
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	get := func(how credentials.TransportCredentials) error {
		conn, err := grpc.NewClient(lis.Addr().String(), grpc.WithTransportCredentials(how))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		_, err = profilev1.NewProfilesClient(conn).Get(soon(t), &profilev1.GetRequest{Store: "players", Key: "p", Binding: newStamps(fakeCluster, 1).binding})
		return err
	}
	if err := get(trusting); err != nil {
		t.Errorf("with TLS: %v", err)
	}
	if err := get(insecure.NewCredentials()); err == nil {
		t.Error("without TLS a call was answered")
	}

	// Calls are followed behind TLS as well.
	conn, err := tls.Dial("tcp", lis.Addr().String(), &tls.Config{RootCAs: rootsOf(t, secure), ServerName: "node", NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	c := newRawClient(t, conn)
	large := c.open(profilev1.Profiles_Send_FullMethodName)
	c.begin(large, 5<<20, 0, 0)
	if said := c.awaitEnd(large); !strings.Contains(said, "over its limit") {
		t.Errorf("a Send of 5 MiB is told %q", said)
	}
}

// rootsOf trusts what a server presents.
func rootsOf(t *testing.T, secure *tls.Config) *x509.CertPool {
	t.Helper()
	certificate, err := x509.ParseCertificate(secure.Certificates[0].Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(certificate)
	return roots
}
