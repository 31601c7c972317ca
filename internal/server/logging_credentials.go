package server

import (
	"net"

	"google.golang.org/grpc/credentials"

	"github.com/profilenode/profilenode/cluster"
)

// loggingCredentials are TLS whose failed handshakes are logged: gRPC itself drops such a connection without a word.
type loggingCredentials struct {
	credentials.TransportCredentials
	failed *cluster.HandshakeLog
}

func (t *loggingCredentials) ServerHandshake(c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	secured, info, err := t.TransportCredentials.ServerHandshake(c)
	if err != nil {
		t.failed.LogFailure(c.RemoteAddr(), err)
	}
	return secured, info, err
}

func (t *loggingCredentials) Clone() credentials.TransportCredentials {
	return &loggingCredentials{t.TransportCredentials.Clone(), t.failed}
}
