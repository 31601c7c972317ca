package issuer

import (
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

const year = 365 * 24 * time.Hour

func newFolder(t *testing.T) Folder {
	t.Helper()
	f := Folder{Path: filepath.Join(t.TempDir(), "certs")}
	if _, err := f.MakeAuthority(10 * year); err != nil {
		t.Fatal(err)
	}
	return f
}

func mustIssue(t *testing.T, f Folder, r Request) *x509.Certificate {
	t.Helper()
	made, err := f.Issue(r)
	if err != nil {
		t.Fatal(err)
	}
	return made.Certificate
}

// verify says whether the authorities of a folder vouch for a certificate in a use.
func verify(f Folder, certificate *x509.Certificate, use x509.ExtKeyUsage, host string) error {
	all, err := readCertificates(f.path("ca.crt"))
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	for _, one := range all {
		roots.AddCert(one)
	}
	_, err = certificate.Verify(x509.VerifyOptions{Roots: roots, DNSName: host, KeyUsages: []x509.ExtKeyUsage{use}})
	return err
}

func TestIssuedCertificatesAreForTheirRoleAndHosts(t *testing.T) {
	f := newFolder(t)
	node := mustIssue(t, f, Request{Name: "node1", Node: true, Hosts: []string{"node1", "10.0.0.1", "node1"}, Lasts: year})
	for _, host := range []string{"node1", "10.0.0.1"} {
		if err := verify(f, node, x509.ExtKeyUsageServerAuth, host); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	if err := verify(f, node, x509.ExtKeyUsageServerAuth, "node2"); err == nil {
		t.Error("node1's certificate passes for node2")
	}
	if err := verify(f, node, x509.ExtKeyUsageClientAuth, ""); err != nil {
		t.Errorf("a node dials others: %v", err)
	}
	if got := len(node.DNSNames) + len(node.IPAddresses); got != 2 || !slices.Equal(node.Subject.OrganizationalUnit, []string{NodeUnit}) {
		t.Errorf("%d hosts, units %v", got, node.Subject.OrganizationalUnit)
	}

	game := mustIssue(t, f, Request{Name: "game", Lasts: year})
	if err := verify(f, game, x509.ExtKeyUsageClientAuth, ""); err != nil {
		t.Error(err)
	}
	if err := verify(f, game, x509.ExtKeyUsageServerAuth, ""); err == nil || len(game.Subject.OrganizationalUnit) > 0 {
		t.Errorf("a client's certificate passes for a server's (%v), units %v", err, game.Subject.OrganizationalUnit)
	}
}

func TestKeysAreReadByTheirOwnerAlone(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("modes of files say nothing on windows")
	}
	f := newFolder(t)
	mustIssue(t, f, Request{Name: "game", Lasts: year})
	if _, err := f.Renew("game", true, year); err != nil {
		t.Fatal(err)
	}
	if _, err := f.RotateAuthority(10 * year); err != nil {
		t.Fatal(err)
	}
	keys, _ := filepath.Glob(filepath.Join(f.Path, "*.key*"))
	if len(keys) != 4 {
		t.Errorf("found keys %v, want four", keys)
	}
	for _, path := range keys {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
}

func TestNothingIsOverwritten(t *testing.T) {
	f := newFolder(t)
	mustIssue(t, f, Request{Name: "game", Lasts: year})
	before := contents(t, f)
	if _, err := f.MakeAuthority(year); !errors.Is(err, os.ErrExist) {
		t.Errorf("a second authority: %v", err)
	}
	if _, err := f.Issue(Request{Name: "game", Lasts: year}); !errors.Is(err, os.ErrExist) {
		t.Errorf("a second game: %v", err)
	}
	if after := contents(t, f); len(after) != len(before) {
		t.Errorf("a refused call left files: %d, were %d", len(after), len(before))
	}
	for range 2 {
		made, err := f.Renew("game", true, year)
		if err != nil || len(made.Kept) != 2 {
			t.Fatalf("kept %v, %v", made.Kept, err)
		}
	}
	after := contents(t, f)
	for content := range before {
		if !after[content] {
			t.Errorf("%q is gone", content[:40])
		}
	}
}

// contents are those of all files of a folder.
func contents(t *testing.T, f Folder) map[string]bool {
	t.Helper()
	found := make(map[string]bool)
	paths, _ := filepath.Glob(filepath.Join(f.Path, "*"))
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		found[string(content)] = true
	}
	return found
}

func TestRenewalKeepsNamesAndRole(t *testing.T) {
	f := newFolder(t)
	former := mustIssue(t, f, Request{Name: "node1", Node: true, Hosts: []string{"node1", "10.0.0.1"}, Lasts: time.Hour})
	for _, newKey := range []bool{false, true} {
		made, err := f.Renew("node1", newKey, year)
		if err != nil {
			t.Fatal(err)
		}
		next := made.Certificate
		if sameKey := string(next.RawSubjectPublicKeyInfo) == string(former.RawSubjectPublicKeyInfo); sameKey == newKey {
			t.Errorf("new key asked for: %t, same key: %t", newKey, sameKey)
		}
		if next.Subject.String() != former.Subject.String() || !slices.Equal(next.DNSNames, former.DNSNames) || !next.NotAfter.After(former.NotAfter) ||
			next.SerialNumber.Cmp(former.SerialNumber) == 0 {
			t.Errorf("got %v %v until %v", next.Subject, next.DNSNames, next.NotAfter)
		}
		if err := verify(f, next, x509.ExtKeyUsageServerAuth, "10.0.0.1"); err != nil {
			t.Error(err)
		}
		key, err := readKey(f.path("node1.key"))
		if err != nil || !key.PublicKey.Equal(next.PublicKey) {
			t.Errorf("node1.key does not belong to node1.crt: %v", err)
		}
	}
}

// In the midst of a rotation both generations are accepted, at its end the new one alone.
func TestRotationOfTheAuthority(t *testing.T) {
	f := newFolder(t)
	former := mustIssue(t, f, Request{Name: "game", Lasts: year})
	if _, err := f.DropFormerAuthorities(); err == nil {
		t.Error("the only authority can be taken out")
	}
	if _, err := f.RotateAuthority(10 * year); err != nil {
		t.Fatal(err)
	}
	made, err := f.Renew("game", false, year)
	if err != nil {
		t.Fatal(err)
	}
	for _, certificate := range []*x509.Certificate{former, made.Certificate} {
		if err := verify(f, certificate, x509.ExtKeyUsageClientAuth, ""); err != nil {
			t.Errorf("during the rotation: %v", err)
		}
	}
	if _, err := f.DropFormerAuthorities(); err != nil {
		t.Fatal(err)
	}
	if err := verify(f, made.Certificate, x509.ExtKeyUsageClientAuth, ""); err != nil {
		t.Errorf("after it: %v", err)
	}
	if err := verify(f, former, x509.ExtKeyUsageClientAuth, ""); err == nil {
		t.Error("a certificate of the former authority is accepted after it was taken out")
	}
}

func TestBadRequests(t *testing.T) {
	f := newFolder(t)
	for _, c := range []struct {
		request Request
		want    string
	}{
		{Request{Name: "../x"}, "cannot be a certificate's name"},
		{Request{Name: "ca"}, "cannot be a certificate's name"},
		{Request{Name: ""}, "cannot be a certificate's name"},
		{Request{Name: "node1", Node: true}, "needs the hosts"},
		{Request{Name: "node1", Node: true, Hosts: []string{"10.0.0.1:7401"}}, "without a port"},
		{Request{Name: "node1", Node: true, Hosts: []string{"*.example.org"}}, "neither a host name"},
		{Request{Name: "node1", Node: true, Hosts: []string{"0.0.0.0"}}, "nothing that others can dial"},
		{Request{Name: "game", Hosts: []string{"a"}}, "nobody dials a client"},
		{Request{Name: "game", Lasts: 11 * year}, "longer than its authority"},
	} {
		if _, err := f.Issue(c.request); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: got %v, want %q", c.request, err, c.want)
		}
	}
	if _, err := (Folder{Path: t.TempDir()}).Issue(Request{Name: "game", Lasts: year}); err == nil || !strings.Contains(err.Error(), "profilenode cert ca makes one") {
		t.Errorf("without an authority: %v", err)
	}
	other := newFolder(t)
	if err := os.Remove(other.path("ca.key")); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(f.path("ca.key"), other.path("ca.key")); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Issue(Request{Name: "game", Lasts: year}); err == nil || !strings.Contains(err.Error(), "belongs to no certificate") {
		t.Errorf("with another authority's key: %v", err)
	}
}
