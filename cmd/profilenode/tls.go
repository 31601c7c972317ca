package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
)

// nodeUnit is the organizational unit of a node's certificate. The same authority signs for game servers and operators,
// and theirs must not open the nodes port.
const nodeUnit = "node"

// certificates are the parts of a TLS configuration.
type certificates struct {
	own       *tls.Certificate // nil: none
	authority *x509.CertPool
}

// readCertificates reads the files named; it reports every one that cannot be used. All names empty: nil.
func readCertificates(certFile, keyFile, caFile string) (*certificates, error) {
	if certFile == "" && keyFile == "" && caFile == "" {
		return nil, nil
	}
	var faults []error
	c := &certificates{authority: x509.NewCertPool()}
	if certFile != "" || keyFile != "" {
		own, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			faults = append(faults, fmt.Errorf("read tls-cert and tls-key: %w", err))
		}
		c.own = &own
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		faults = append(faults, fmt.Errorf("read tls-ca: %w", err))
	} else if !c.authority.AppendCertsFromPEM(pem) {
		faults = append(faults, fmt.Errorf("tls-ca %s holds no certificate in PEM form", caFile))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return c, nil
}

// forClients is for the clients port: every client shows a certificate of the same authority.
func (c *certificates) forClients() *tls.Config {
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{*c.own},
		ClientCAs:    c.authority,
		ClientAuth:   tls.RequireAndVerifyClientCert,
	}
}

// forNodes is for both ends of the nodes port: the other end must be a node.
func (c *certificates) forNodes() (*tls.Config, error) {
	if !hasNodeRole(c.own.Leaf) {
		return nil, fmt.Errorf("tls-cert has no organizational unit %q: other nodes would turn this one away; issue it with OU=%s", nodeUnit, nodeUnit)
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{*c.own},
		RootCAs:      c.authority,
		ClientCAs:    c.authority,
		ClientAuth:   tls.RequireAndVerifyClientCert,
		VerifyConnection: func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) == 0 || !hasNodeRole(state.PeerCertificates[0]) {
				return fmt.Errorf("the other end's certificate has no organizational unit %q: it is no node", nodeUnit)
			}
			return nil
		},
	}, nil
}

func hasNodeRole(certificate *x509.Certificate) bool {
	return certificate != nil && slices.Contains(certificate.Subject.OrganizationalUnit, nodeUnit)
}

// forCommands is for a caller of the clients port.
func (c *certificates) forCommands() *tls.Config {
	config := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: c.authority}
	if c.own != nil {
		config.Certificates = []tls.Certificate{*c.own}
	}
	return config
}
