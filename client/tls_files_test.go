package client_test

import (
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/internal/issuer"
)

const certificateLife = time.Hour

// shake makes a handshake between a game server with these settings and a node, which asks for the client's certificate.
func shake(t *testing.T, game *tls.Config, node issuer.Folder, host string) (serial string, err error) {
	t.Helper()
	own, err := tls.LoadX509KeyPair(filepath.Join(node.Path, "node.crt"), filepath.Join(node.Path, "node.key"))
	if err != nil {
		t.Fatal(err)
	}
	here, there := net.Pipe()
	defer here.Close()
	shown := make(chan string, 1)
	go func() {
		defer there.Close()
		server := tls.Server(there, &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{own}, ClientAuth: tls.RequireAnyClientCert})
		_ = server.Handshake()
		for _, certificate := range server.ConnectionState().PeerCertificates {
			shown <- certificate.SerialNumber.String()
			return
		}
		shown <- ""
	}()
	game = game.Clone()
	game.ServerName = host
	err = tls.Client(here, game).Handshake()
	_ = here.Close()
	return <-shown, err
}

func makeCluster(t *testing.T) issuer.Folder {
	t.Helper()
	f := issuer.Folder{Path: filepath.Join(t.TempDir(), "certs")}
	if _, err := f.MakeAuthority(10 * certificateLife); err != nil {
		t.Fatal(err)
	}
	for _, r := range []issuer.Request{{Name: "node", Node: true, Hosts: []string{"node1", "10.0.0.1"}}, {Name: "game"}} {
		r.Lasts = certificateLife
		if _, err := f.Issue(r); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func serialOfGame(t *testing.T, f issuer.Folder) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(f.Path, "game.crt"))
	if err != nil {
		t.Fatal(err)
	}
	return issuer.Parse(text)[0].SerialNumber.String()
}

// A renewed certificate is shown in the next handshake, and a file of two authorities carries a game server through their exchange.
func TestLoadTLSReadsTheCertificateAgain(t *testing.T) {
	f := makeCluster(t)
	file := func(name string) string { return filepath.Join(f.Path, name) }
	load := func() *tls.Config {
		config, err := client.LoadTLS(file("game.crt"), file("game.key"), file("ca.crt"))
		if err != nil {
			t.Fatal(err)
		}
		return config
	}
	config := load()
	for _, step := range []struct {
		name string
		do   func() (issuer.Made, error)
	}{
		{"as it was", func() (issuer.Made, error) { return issuer.Made{}, nil }},
		{"renewed under a new key", func() (issuer.Made, error) { return f.Renew("game", true, certificateLife) }},
		{"two authorities", func() (issuer.Made, error) {
			made, err := f.RotateAuthority(10 * certificateLife)
			config = load()
			return made, err
		}},
		{"the node renewed", func() (issuer.Made, error) { return f.Renew("node", false, certificateLife) }},
		{"the former authority is out", f.DropFormerAuthorities},
	} {
		if _, err := step.do(); err != nil {
			t.Fatal(err)
		}
		for _, host := range []string{"node1", "10.0.0.1"} {
			if shown, err := shake(t, config, f, host); err != nil || shown != serialOfGame(t, f) {
				t.Errorf("%s, %s: %v, shown %s", step.name, host, err, shown)
			}
		}
	}
}

// A node that is not the one dialled, or that others vouch for, is refused.
func TestLoadTLSVerifiesTheNode(t *testing.T) {
	f, other := makeCluster(t), makeCluster(t)
	file := func(name string) string { return filepath.Join(f.Path, name) }
	config, err := client.LoadTLS(file("game.crt"), file("game.key"), file("ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := shake(t, config, f, "node2"); err == nil || !strings.Contains(err.Error(), "not node2") {
		t.Errorf("a node that was not dialled: %v", err)
	}
	if _, err := shake(t, config, other, "node1"); err == nil || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("a node of another authority: %v", err)
	}
	past := f
	past.Now = func() time.Time { return time.Now().Add(-3 * certificateLife) }
	if _, err := past.Renew("node", false, certificateLife); err != nil {
		t.Fatal(err)
	}
	if _, err := shake(t, config, f, "node1"); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("a node whose certificate has expired: %v", err)
	}
	for _, args := range [][3]string{
		{file("absent"), file("game.key"), file("ca.crt")}, {file("game.crt"), file("node.key"), file("ca.crt")}, {file("game.crt"), file("game.key"), file("game.key")},
	} {
		if _, err := client.LoadTLS(args[0], args[1], args[2]); err == nil {
			t.Errorf("%v are taken", args)
		}
	}
}
