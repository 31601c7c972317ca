package issuer

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

const (
	certificateSuffix = ".crt"
	keySuffix         = ".key"
)

// newFile is a file to be written.
type newFile struct {
	name    string
	content []byte
	secret  bool // only its owner may read it
}

func (n newFile) mode() os.FileMode {
	if n.secret {
		return 0o600
	}
	return 0o644
}

func (f Folder) path(name string) string { return filepath.Join(f.Path, name) }

// create writes files of which none may exist. If one cannot be written, it removes those that it had written.
func (f Folder) create(files []newFile) (made Made, err error) {
	for _, file := range files {
		if _, err := os.Lstat(f.path(file.name)); err == nil {
			return Made{}, fmt.Errorf("%s: %w", f.path(file.name), os.ErrExist)
		}
	}
	if err := os.MkdirAll(f.Path, 0o700); err != nil {
		return Made{}, err
	}
	defer func() {
		if err == nil {
			return
		}
		for _, path := range made.Files {
			_ = os.Remove(path)
		}
		made = Made{}
	}()
	for _, file := range files {
		if err := writeNew(f.path(file.name), file); err != nil {
			return made, err
		}
		made.Files = append(made.Files, f.path(file.name))
	}
	return made, nil
}

// replace puts files in the place of those that may exist, each in one step: who reads one meanwhile gets the former or the new
// one. The former ones stay, under their name and a number.
func (f Folder) replace(files []newFile) (made Made, err error) {
	for _, file := range files {
		next := f.path(file.name + ".new")
		_ = os.Remove(next) // of a replacement that was cut off
		if err := writeNew(next, file); err != nil {
			return made, err
		}
	}
	for _, file := range files {
		path := f.path(file.name)
		kept, err := keepFormer(path)
		if err != nil {
			return made, err
		}
		if kept != "" {
			made.Kept = append(made.Kept, kept)
		}
		if err := os.Rename(path+".new", path); err != nil {
			return made, err
		}
		made.Files = append(made.Files, path)
	}
	return made, nil
}

// keepFormer gives a file a second name, that nothing has yet, and returns it; "": there is no such file.
func keepFormer(path string) (string, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	for number := 1; ; number++ {
		kept := fmt.Sprintf("%s.%d", path, number)
		err := writeNew(kept, newFile{content: content, secret: true})
		if !errors.Is(err, os.ErrExist) {
			return kept, err
		}
	}
}

// writeNew writes a file that must not exist, and syncs it.
func writeNew(path string, file newFile) error {
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, file.mode())
	if err != nil {
		return err
	}
	_, err = out.Write(file.content)
	err = errors.Join(err, out.Sync(), out.Close())
	if err != nil {
		_ = os.Remove(path)
	}
	return err
}

func encodeCertificates(all ...*x509.Certificate) (encoded []byte) {
	for _, certificate := range all {
		encoded = append(encoded, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})...)
	}
	return encoded
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func readCertificates(path string) ([]*x509.Certificate, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	found := Parse(content)
	if len(found) == 0 {
		return nil, fmt.Errorf("%s holds no certificate in PEM form", path)
	}
	return found, nil
}

// Parse finds the certificates in a PEM file. One that cannot be parsed is left out, as crypto/x509 does.
func Parse(data []byte) (found []*x509.Certificate) {
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

func readKey(path string) (*ecdsa.PrivateKey, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(content)
	if block == nil {
		return nil, fmt.Errorf("%s holds no key in PEM form", path)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s holds no key that this program has made: %w", path, err)
	}
	elliptic, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s holds a key of another kind than this program makes", path)
	}
	return elliptic, nil
}
