package issuer

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"time"
)

// Request is a certificate to be made.
type Request struct {
	Name  string        // of the certificate and of its files
	Node  bool          // it is a node's; else a game server's or an operator's
	Hosts []string      // the host names and IP addresses by which a node is dialled
	Lasts time.Duration // how long it is valid
}

// goodName is what can be a name of a file on every system.
var goodName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// Issue makes a key and a certificate for it, NAME.key and NAME.crt.
func (f Folder) Issue(r Request) (Made, error) {
	template, err := r.template()
	if err != nil {
		return Made{}, err
	}
	authority, err := f.readAuthority()
	if err != nil {
		return Made{}, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Made{}, err
	}
	certificate, err := f.sign(authority, template, &key.PublicKey, r.Lasts)
	if err != nil {
		return Made{}, err
	}
	encoded, err := encodeKey(key)
	if err != nil {
		return Made{}, err
	}
	made, err := f.create([]newFile{
		{name: r.Name + keySuffix, content: encoded, secret: true},
		{name: r.Name + certificateSuffix, content: encodeCertificates(certificate)},
	})
	if errors.Is(err, os.ErrExist) {
		err = fmt.Errorf("%w: profilenode cert renew replaces it, or choose another name", err)
	}
	made.Certificate = certificate
	return made, err
}

// Renew makes a new certificate with the names and the role of NAME.crt. With newKey the key is a new one too.
func (f Folder) Renew(name string, newKey bool, lasts time.Duration) (Made, error) {
	if !goodName.MatchString(name) || name == authorityName {
		return Made{}, fmt.Errorf("%q is no name of a certificate of a node or a client", name)
	}
	authority, err := f.readAuthority()
	if err != nil {
		return Made{}, err
	}
	chain, err := readCertificates(f.path(name + certificateSuffix))
	if err != nil {
		return Made{}, fmt.Errorf("read what is to be renewed: %w", err)
	}
	former := chain[0]
	var files []newFile
	var key *ecdsa.PrivateKey
	if newKey {
		if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return Made{}, err
		}
		encoded, err := encodeKey(key)
		if err != nil {
			return Made{}, err
		}
		// The key comes first: until the certificate follows, a node that looks at the files keeps those that it has.
		files = append(files, newFile{name: name + keySuffix, content: encoded, secret: true})
	} else {
		if key, err = readKey(f.path(name + keySuffix)); err != nil {
			return Made{}, fmt.Errorf("read the key that is to be kept: %w; --new-key makes a new one", err)
		}
		if !key.PublicKey.Equal(former.PublicKey) {
			return Made{}, fmt.Errorf("%s does not belong to %s: --new-key makes a new one", f.path(name+keySuffix), f.path(name+certificateSuffix))
		}
	}
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: former.Subject.CommonName, OrganizationalUnit: former.Subject.OrganizationalUnit},
		KeyUsage:    former.KeyUsage,
		ExtKeyUsage: former.ExtKeyUsage,
		DNSNames:    former.DNSNames,
		IPAddresses: former.IPAddresses,
	}
	certificate, err := f.sign(authority, template, &key.PublicKey, lasts)
	if err != nil {
		return Made{}, err
	}
	made, err := f.replace(append(files, newFile{name: name + certificateSuffix, content: encodeCertificates(certificate)}))
	made.Certificate = certificate
	return made, err
}

func (r Request) template() (*x509.Certificate, error) {
	if !goodName.MatchString(r.Name) || r.Name == authorityName {
		return nil, fmt.Errorf("%q cannot be a certificate's name: use letters, digits, dots and dashes, and not %q", r.Name, authorityName)
	}
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: r.Name},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if !r.Node {
		if len(r.Hosts) > 0 {
			return nil, errors.New("nobody dials a client: its certificate has no host")
		}
		return template, nil
	}
	if len(r.Hosts) == 0 {
		return nil, errors.New("a node's certificate needs the hosts by which other nodes and game servers dial it: the hosts of advertise and advertise-nodes")
	}
	template.Subject.OrganizationalUnit = []string{NodeUnit}
	template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	for _, host := range r.Hosts {
		if err := addHost(template, host); err != nil {
			return nil, err
		}
	}
	return template, nil
}

// goodHost is a host name as certificates hold it, without a wildcard: one would let a node pass for every other one.
var goodHost = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*$`)

func addHost(template *x509.Certificate, host string) error {
	if ip := net.ParseIP(host); ip != nil {
		if ip.IsUnspecified() {
			return fmt.Errorf("%s is nothing that others can dial: name the address by which they reach this node", host)
		}
		if !slices.ContainsFunc(template.IPAddresses, ip.Equal) {
			template.IPAddresses = append(template.IPAddresses, ip)
		}
		return nil
	}
	if !goodHost.MatchString(host) || len(host) > 253 {
		return fmt.Errorf("%q is neither a host name nor an IP address: write it without a port", host)
	}
	if !slices.Contains(template.DNSNames, host) {
		template.DNSNames = append(template.DNSNames, host)
	}
	return nil
}

func (f Folder) sign(authority *authority, template *x509.Certificate, key *ecdsa.PublicKey, lasts time.Duration) (*x509.Certificate, error) {
	var err error
	if template.SerialNumber, err = newSerial(); err != nil {
		return nil, err
	}
	template.NotBefore, template.NotAfter = f.now().Add(-clockSlack), f.now().Add(lasts)
	if end := authority.certificate.NotAfter; template.NotAfter.After(end) {
		return nil, fmt.Errorf("it would be valid for longer than its authority, which ends on %s: give fewer --days, or make a new authority by profilenode cert ca --rotate",
			end.UTC().Format(time.DateTime))
	}
	der, err := x509.CreateCertificate(rand.Reader, template, authority.certificate, key, authority.key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}
