package main

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

// nodeUnit is the organizational unit of a node's certificate. The same authority signs for game servers and operators,
// and theirs must not open the nodes port.
const nodeUnit = "node"

// certificates is the content of the files that TLS is made of.
type certificates struct {
	own         *tls.Certificate // nil: none
	chain       []*x509.Certificate
	authority   *x509.CertPool
	authorities []*x509.Certificate
	sum         [sha256.Size]byte // of the files' bytes
}

// readCertificates reads the files named; it reports every one that cannot be used. All names empty: nil.
func readCertificates(certFile, keyFile, caFile string) (*certificates, error) {
	if certFile == "" && keyFile == "" && caFile == "" {
		return nil, nil
	}
	var faults []error
	c := &certificates{authority: x509.NewCertPool()}
	sum := sha256.New()
	if certFile != "" || keyFile != "" {
		certificate, err := os.ReadFile(certFile)
		var key []byte
		if err == nil {
			key, err = os.ReadFile(keyFile)
		}
		var own tls.Certificate
		if err == nil {
			own, err = tls.X509KeyPair(certificate, key)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("read tls-cert and tls-key: %w", err))
		}
		c.own, c.chain = &own, parseCertificates(certificate)
		fmt.Fprintf(sum, "%d %s%d %s", len(certificate), certificate, len(key), key)
	}
	authorities, err := os.ReadFile(caFile)
	c.authorities = parseCertificates(authorities)
	if err != nil {
		faults = append(faults, fmt.Errorf("read tls-ca: %w", err))
	} else if len(c.authorities) == 0 {
		faults = append(faults, fmt.Errorf("tls-ca %s holds no certificate in PEM form", caFile))
	}
	for _, authority := range c.authorities {
		c.authority.AddCert(authority)
	}
	sum.Write(authorities)
	sum.Sum(c.sum[:0])
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return c, nil
}

// parseCertificates finds the certificates in a PEM file. One that cannot be parsed is left out, as crypto/x509 does.
func parseCertificates(data []byte) (found []*x509.Certificate) {
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return found
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		if certificate, err := x509.ParseCertificate(block.Bytes); err == nil {
			found = append(found, certificate)
		}
	}
}

// checkForNode says why other nodes or game servers would turn away a node that shows these certificates at a time.
func (c *certificates) checkForNode(at time.Time) error {
	if !hasNodeRole(c.own.Leaf) {
		return fmt.Errorf("tls-cert has no organizational unit %q: other nodes would turn this one away; issue it with OU=%s", nodeUnit, nodeUnit)
	}
	between := x509.NewCertPool()
	for _, certificate := range c.chain[1:] {
		between.AddCert(certificate)
	}
	for _, use := range []struct {
		usage x509.ExtKeyUsage
		name  string
	}{{x509.ExtKeyUsageServerAuth, "serverAuth"}, {x509.ExtKeyUsageClientAuth, "clientAuth"}} {
		_, err := c.own.Leaf.Verify(x509.VerifyOptions{
			Roots: c.authority, Intermediates: between, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{use.usage},
		})
		var (
			invalid   x509.CertificateInvalidError
			untrusted x509.UnknownAuthorityError
		)
		switch {
		case err == nil:
		case errors.As(err, &invalid) && invalid.Reason == x509.Expired && at.Before(invalid.Cert.NotBefore):
			return &outOfDateError{fmt.Errorf("tls-cert, or what signed it, is not valid before %s: look at the clocks, or wait", day(invalid.Cert.NotBefore))}
		case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
			return &outOfDateError{fmt.Errorf("tls-cert, or what signed it, expired on %s: issue a new one", day(invalid.Cert.NotAfter))}
		case errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage:
			return fmt.Errorf("tls-cert may not be used for %s, and a node needs serverAuth and clientAuth: issue it with both", use.name)
		case errors.As(err, &untrusted):
			return errors.New("tls-cert is not signed by an authority in tls-ca: other nodes would turn this one away; give the file of the authority that signed it")
		default:
			return fmt.Errorf("tls-cert cannot be verified by tls-ca: %w", err)
		}
	}
	return nil
}

// outOfDateError is about certificates that are right but for the time.
type outOfDateError struct{ error }

func (e *outOfDateError) Unwrap() error { return e.error }

func day(t time.Time) string { return t.UTC().Format(time.DateTime) + " UTC" }

// forClients is for the clients port: whoever connects shows a certificate of the same authority. A session ticket would
// let a connection in that was verified by an authority that has left tls-ca since, so there are none.
func (c *certificates) forClients() *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{*c.own},
		ClientCAs:              c.authority,
		ClientAuth:             tls.RequireAndVerifyClientCert,
		SessionTicketsDisabled: true,
	}
}

// forNodes is for both ends of the nodes port: the other end must be a node.
func (c *certificates) forNodes() *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{*c.own},
		RootCAs:                c.authority,
		ClientCAs:              c.authority,
		ClientAuth:             tls.RequireAndVerifyClientCert,
		SessionTicketsDisabled: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) == 0 || !hasNodeRole(state.PeerCertificates[0]) {
				return fmt.Errorf("the other end's certificate has no organizational unit %q: it is no node", nodeUnit)
			}
			return nil
		},
	}
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
