package client

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
)

// LoadTLS makes [Config.TLS] of PEM files: this game server's certificate, its key, and the authorities that sign the nodes'
// certificates. profilenode cert makes such files. It returns an error if they cannot be used.
//
// Certificate and key are read again for each connection, so that renewed ones are used without a restart; while they cannot be
// read, connections fail with the reason. The authorities are read once: before an authority is exchanged, start game servers anew
// with a file that holds both.
func LoadTLS(certFile, keyFile, caFile string) (*tls.Config, error) {
	readOwn := func() (*tls.Certificate, error) {
		own, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			return nil, fmt.Errorf("read certificate %s and key %s: %w", certFile, keyFile, err)
		}
		return &own, nil
	}
	if _, err := readOwn(); err != nil {
		return nil, err
	}
	authorities, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("read authorities: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(authorities) {
		return nil, fmt.Errorf("%s holds no certificate in PEM form", caFile)
	}
	return &tls.Config{
		MinVersion:           tls.VersionTLS13,
		RootCAs:              roots,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return readOwn() },
	}, nil
}
