package server

import (
	"net"

	"github.com/profilenode/profilenode/cluster"
	"google.golang.org/grpc/credentials"
)

// tellingCredentials are TLS whose failed handshakes are logged: gRPC itself drops such a connection without a word.
type tellingCredentials struct {
	credentials.TransportCredentials
	failed *cluster.HandshakeLog
}

func (t *tellingCredentials) ServerHandshake(c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	secured, info, err := t.TransportCredentials.ServerHandshake(c)
	if err != nil {
		t.failed.Failed(c.RemoteAddr(), err)
	}
	return secured, info, err
}

func (t *tellingCredentials) Clone() credentials.TransportCredentials {
	return &tellingCredentials{t.TransportCredentials.Clone(), t.failed}
}
