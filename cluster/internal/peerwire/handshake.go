package peerwire

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"time"
)

// HandshakeLog logs the TLS handshakes that failed on one of a node's ports, for each host once a minute. The other side
// learns at best that the handshake failed, and not the reason.
type HandshakeLog struct {
	Port string // "clients", "nodes"
	Log  *slog.Logger

	limiter LogLimiter
}

// LogFailure logs that a handshake with a connection from an address failed. A connection that this side closed, or that ended
// before it said anything, as a load balancer's probes do, is no failed handshake.
func (h *HandshakeLog) LogFailure(from net.Addr, err error) {
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, context.Canceled) {
		h.Log.Debug("connection ended before its TLS handshake", "port", h.Port, "from", from, "error", err)
		return
	}
	host := from.String()
	if only, _, err := net.SplitHostPort(host); err == nil {
		host = only // each attempt has a port of its own
	}
	if h.limiter.ShouldLog(host, time.Now()) {
		h.Log.Warn("a TLS handshake failed", "port", h.Port, "from", from, "cause", handshakeCause(err))
	}
}

// ErrSpeaksTLS is the cause of a failed handshake on a port without TLS.
var ErrSpeaksTLS = errors.New("it speaks TLS, and this node does not: give this node tls-cert, tls-key and tls-ca, or connect without TLS")

// SpeaksTLS says whether the first bytes of a connection begin a TLS handshake: 22 is the type of such a record, and neither
// HTTP/2 nor the nodes' own opening begins with it.
func SpeaksTLS(first []byte) bool { return len(first) > 0 && first[0] == 22 }

// handshakeCause says in words why the side that was dialed ended a handshake. "It" is the other side.
func handshakeCause(err error) string {
	var (
		notTLS    tls.RecordHeaderError
		invalid   x509.CertificateInvalidError
		untrusted x509.UnknownAuthorityError
		op        *net.OpError
		timeout   net.Error
	)
	text := strings.TrimPrefix(strings.TrimPrefix(err.Error(), "x509: "), "tls: ")
	switch {
	case errors.As(err, &notTLS):
		return "it does not speak TLS, and this node does: give it the certificate authority"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && time.Now().Before(invalid.Cert.NotBefore):
		return fmt.Sprintf("its certificate is not valid before %s: look at the clocks", invalid.Cert.NotBefore.UTC().Format(time.DateTime))
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Sprintf("its certificate expired on %s: give it a new one", invalid.Cert.NotAfter.UTC().Format(time.DateTime))
	case errors.As(err, &untrusted):
		return "its certificate is signed by an authority that this node does not trust"
	case strings.Contains(text, "client didn't provide a certificate"): // has no type
		return "it shows no certificate: give it one that this node's authority has signed"
	case errors.As(err, &op) && op.Op == "remote error" && strings.Contains(op.Err.Error(), "certificate"):
		return "it does not accept this node's certificate: " + strings.TrimPrefix(op.Err.Error(), "tls: ")
	case errors.As(err, &op) && op.Op == "remote error":
		return "it ended the handshake: " + strings.TrimPrefix(op.Err.Error(), "tls: ")
	case errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout():
		return "it did not finish the handshake in time"
	}
	return text
}
