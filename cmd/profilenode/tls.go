package main

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/profilenode/profilenode/internal/issuer"
)

const nodeUnit = issuer.NodeUnit

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
			faults = append(faults, fmt.Errorf("read tls-cert and tls-key: %w%s", err, fileRemedy(err)))
		}
		c.own, c.chain = &own, issuer.Parse(certificate)
		fmt.Fprintf(sum, "%d %s%d %s", len(certificate), certificate, len(key), key)
	}
	authorities, err := os.ReadFile(caFile)
	c.authorities = issuer.Parse(authorities)
	if err != nil {
		faults = append(faults, fmt.Errorf("read tls-ca: %w%s", err, fileRemedy(err)))
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

// fileRemedy says what to do about a certificate or key that cannot be read.
func fileRemedy(err error) string {
	switch {
	case errors.Is(err, os.ErrNotExist):
		return ": put it there, or correct the setting (profilenode cert makes certificates)"
	case errors.Is(err, os.ErrPermission):
		return ": let the user that this process runs as read it"
	case strings.Contains(err.Error(), "does not match"): // crypto/tls has no type for it
		return ": put a certificate and a key there that were made together"
	}
	return ""
}

// dialledHost is a host by which others reach a node: a client of TLS compares it with the node's certificate.
type dialledHost struct{ host, setting, by string }

// dialledHosts are those of a node.
func (c Config) dialledHosts() (hosts []dialledHost) {
	for _, h := range []struct{ advertised, advertise, bound, bind, by string }{
		{c.Advertise, "advertise", c.Bind, "bind", "game servers and operators reach"},
		{c.AdvertiseNodes, "advertise-nodes", c.BindNodes, "bind-nodes", "the other nodes reach"},
	} {
		address, setting := h.advertised, h.advertise
		if address == "" {
			address, setting = h.bound, h.bind
		}
		if host, _, err := net.SplitHostPort(address); err == nil {
			hosts = append(hosts, dialledHost{host, setting, h.by})
		}
	}
	return hosts
}

// checkHosts says why others, who dial a node by these hosts, would turn away its certificate.
func (c *certificates) checkHosts(hosts []dialledHost) error {
	var faults []error
	for _, h := range hosts {
		if c.own.Leaf.VerifyHostname(h.host) != nil {
			faults = append(faults, fmt.Errorf("tls-cert is not for %s, by which %s this node (%s), but for %s: issue it for that host too, or correct %[3]s",
				h.host, h.by, h.setting, describeHosts(c.own.Leaf)))
		}
	}
	return errors.Join(faults...)
}

// describeHosts lists the hosts that a certificate is for.
func describeHosts(certificate *x509.Certificate) string {
	hosts := slices.Clone(certificate.DNSNames)
	for _, ip := range certificate.IPAddresses {
		hosts = append(hosts, ip.String())
	}
	if len(hosts) == 0 {
		return "no host"
	}
	return strings.Join(hosts, ", ")
}

// checkForNode says why other nodes or game servers, who dial a node by these hosts, would turn it away at a time if it shows
// these certificates.
func (c *certificates) checkForNode(at time.Time, hosts []dialledHost) error {
	if !hasNodeRole(c.own.Leaf) {
		return fmt.Errorf("tls-cert has no organizational unit %q: other nodes would turn this one away; issue it with OU=%s", nodeUnit, nodeUnit)
	}
	if err := c.checkHosts(hosts); err != nil { // before the dates: those do not keep a node from starting
		return err
	}
	return c.checkUses(at, x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth)
}

// usageNames are the uses of certificates that anybody here asks for.
var usageNames = map[x509.ExtKeyUsage]string{x509.ExtKeyUsageServerAuth: "serverAuth", x509.ExtKeyUsageClientAuth: "clientAuth"}

// checkUses says why who trusts these authorities would turn the certificate away in one of these uses.
func (c *certificates) checkUses(at time.Time, usages ...x509.ExtKeyUsage) error {
	between := x509.NewCertPool()
	for _, certificate := range c.chain[1:] {
		between.AddCert(certificate)
	}
	for _, usage := range usages {
		_, err := c.own.Leaf.Verify(x509.VerifyOptions{
			Roots: c.authority, Intermediates: between, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{usage},
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
			return fmt.Errorf("tls-cert may not be used for %s, and a node needs serverAuth and clientAuth: issue it with both", usageNames[usage])
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
