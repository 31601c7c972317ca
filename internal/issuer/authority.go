// Package issuer makes a cluster's certificate authority, and the certificates of nodes and of clients that it signs.
//
// It keeps them as PEM files in one folder: ca.crt and ca.key, and NAME.crt and NAME.key for each certificate. No file is ever
// overwritten: what a renewal or a rotation replaces stays beside its successor under a number. A key can be read by its
// owner alone.
//
// During a rotation ca.crt holds the authority that signs and those before it, so that both generations of certificates are
// accepted. ca.key always belongs to the first one in ca.crt.
package issuer

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"os"
	"time"
)

// NodeUnit is the organizational unit of a node's certificate. The same authority signs for game servers and operators,
// and theirs must not open the nodes port.
const NodeUnit = "node"

const (
	authorityName = "ca"

	// clockSlack is how long before it was made a certificate is already valid, for machines whose clocks are behind.
	clockSlack = time.Hour
)

// Folder is where an authority and its certificates lie.
type Folder struct {
	Path string
	Now  func() time.Time // nil: time.Now
}

// Made is what a call has written.
type Made struct {
	Files       []string
	Kept        []string // what was there before, under its new name
	Certificate *x509.Certificate
}

func (f Folder) now() time.Time {
	if f.Now == nil {
		return time.Now()
	}
	return f.Now()
}

// MakeAuthority makes the authority of a new cluster.
func (f Folder) MakeAuthority(lasts time.Duration) (Made, error) {
	certificate, key, err := f.newAuthority(lasts)
	if err != nil {
		return Made{}, err
	}
	files := []newFile{
		{name: authorityName + keySuffix, content: key, secret: true},
		{name: authorityName + certificateSuffix, content: encodeCertificates(certificate)},
	}
	made, err := f.create(files)
	if errors.Is(err, os.ErrExist) {
		err = fmt.Errorf("%w: this folder has an authority already; name another folder, or exchange its authority by --rotate", err)
	}
	made.Certificate = certificate
	return made, err
}

// RotateAuthority makes a new authority that signs from now on. The former ones stay in ca.crt behind it.
func (f Folder) RotateAuthority(lasts time.Duration) (Made, error) {
	former, err := f.readAuthority()
	if err != nil {
		return Made{}, err
	}
	certificate, key, err := f.newAuthority(lasts)
	if err != nil {
		return Made{}, err
	}
	made, err := f.replace([]newFile{
		{name: authorityName + keySuffix, content: key, secret: true},
		{name: authorityName + certificateSuffix, content: encodeCertificates(append([]*x509.Certificate{certificate}, former.all...)...)},
	})
	made.Certificate = certificate
	return made, err
}

// DropFormerAuthorities leaves in ca.crt only the authority that signs.
func (f Folder) DropFormerAuthorities() (Made, error) {
	authority, err := f.readAuthority()
	if err != nil {
		return Made{}, err
	}
	if len(authority.all) == 1 {
		return Made{}, fmt.Errorf("%s holds one authority: there is no former one to take out", f.path(authorityName+certificateSuffix))
	}
	made, err := f.replace([]newFile{{name: authorityName + certificateSuffix, content: encodeCertificates(authority.certificate)}})
	made.Certificate = authority.certificate
	return made, err
}

func (f Folder) newAuthority(lasts time.Duration) (*x509.Certificate, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		// Two authorities of one cluster stand in one file during a rotation, and people must tell them apart.
		Subject:               pkix.Name{CommonName: fmt.Sprintf("profilenode authority %.6x", serial.Bytes())},
		NotBefore:             f.now().Add(-clockSlack),
		NotAfter:              f.now().Add(lasts),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, err
	}
	encoded, err := encodeKey(key)
	return certificate, encoded, err
}

// newSerial returns 127 random bits: nobody counts certificates, and a number must never come twice.
func newSerial() (*big.Int, error) {
	return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
}

// authority is what signs.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	all         []*x509.Certificate // in ca.crt, certificate among them
}

func (f Folder) readAuthority() (*authority, error) {
	all, err := readCertificates(f.path(authorityName + certificateSuffix))
	if err != nil {
		return nil, fmt.Errorf("read the authority: %w; profilenode cert ca makes one", err)
	}
	key, err := readKey(f.path(authorityName + keySuffix))
	if err != nil {
		return nil, fmt.Errorf("read the authority's key: %w", err)
	}
	for _, certificate := range all {
		if key.PublicKey.Equal(certificate.PublicKey) {
			return &authority{certificate, key, all}, nil
		}
	}
	return nil, fmt.Errorf("%s belongs to no certificate in %s: put the two files of one authority back",
		f.path(authorityName+keySuffix), f.path(authorityName+certificateSuffix))
}
