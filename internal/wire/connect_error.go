package wire

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// Problem is why no request can be sent to an address.
type Problem uint8

const (
	CannotDial           Problem = iota // no such host, no route; Err says which
	RefusedConnection                   // nothing listens
	NoAnswer                            // the host does not answer
	Silent                              // it accepts connections and never says anything
	ClosedAtOnce                        // it closes every connection of ours
	SpeaksTLS                           // and this side does not
	SpeaksPlain                         // and this side speaks TLS
	SpeaksHTTP                          // of a browser's kind, not gRPC
	SpeaksOther                         // something that is neither
	CertificateExpired                  // the node's, or not valid yet
	CertificateUntrusted                // signed by another authority
	CertificateOfOther                  // for another name or address
	TurnedAway                          // it does not accept this side's certificate
	HandshakeFailed                     // in another way
)

// ConnectError is the answer of an address to the attempt to connect.
type ConnectError struct {
	Problem Problem
	Err     error // nil: there is none that says more
}

func (e *ConnectError) Unwrap() error { return e.Err }

// Error is the address's answer. The caller adds the address.
func (e *ConnectError) Error() string {
	switch e.Problem {
	case RefusedConnection:
		return "connection refused: nothing listens there"
	case NoAnswer:
		return "no answer to the attempt to connect: the host is down, cut off, or a firewall drops it"
	case Silent:
		return "it accepts connections and never answers: the process is stopped or stuck, or something else listens there"
	case ClosedAtOnce:
		return "it closed the connection without an answer: it is no port for clients (perhaps the port for nodes or gossip)"
	case SpeaksTLS:
		return "it speaks TLS, and this side does not: give the certificate authority"
	case SpeaksPlain:
		return "it does not speak TLS, and this side does"
	case SpeaksHTTP:
		return "it is an HTTP port, for health and metrics perhaps: clients have another one"
	case SpeaksOther:
		return "it is no port of a profilenode for clients"
	case CertificateExpired:
		return e.expiredText()
	case CertificateUntrusted:
		return "its certificate is signed by an authority that this side does not trust" + e.detailText()
	case CertificateOfOther:
		return "its certificate is not for this address" + e.detailText()
	case TurnedAway:
		return "it does not accept this side's certificate" + e.detailText()
	case HandshakeFailed:
		return "the TLS handshake failed" + e.detailText()
	}
	return "cannot connect" + e.detailText()
}

func (e *ConnectError) detailText() string {
	if e.Err == nil {
		return ""
	}
	return ": " + strings.TrimPrefix(strings.TrimPrefix(e.Err.Error(), "x509: "), "tls: ")
}

func (e *ConnectError) expiredText() string {
	var invalid x509.CertificateInvalidError
	if errors.As(e.Err, &invalid) && invalid.Cert != nil {
		if now := time.Now(); now.Before(invalid.Cert.NotBefore) {
			return fmt.Sprintf("its certificate is not valid before %s: look at the clocks", invalid.Cert.NotBefore.UTC().Format(time.DateTime))
		}
		return fmt.Sprintf("its certificate expired on %s", invalid.Cert.NotAfter.UTC().Format(time.DateTime))
	}
	return "its certificate has expired, or is not valid yet"
}

// handshakeError classifies the error that ended a TLS handshake.
func handshakeError(err error) *ConnectError {
	var (
		notTLS    tls.RecordHeaderError
		invalid   x509.CertificateInvalidError
		untrusted x509.UnknownAuthorityError
		other     x509.HostnameError
	)
	switch {
	case errors.As(err, &notTLS) && bytes.HasPrefix(notTLS.RecordHeader[:], []byte("HTTP/")):
		return &ConnectError{Problem: SpeaksHTTP, Err: err}
	case errors.As(err, &notTLS) && speaksHTTP2(notTLS.RecordHeader[:]):
		return &ConnectError{Problem: SpeaksPlain, Err: err}
	case errors.As(err, &notTLS):
		return &ConnectError{Problem: SpeaksOther, Err: err}
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return &ConnectError{Problem: CertificateExpired, Err: err}
	case errors.As(err, &untrusted):
		return &ConnectError{Problem: CertificateUntrusted, Err: untrusted}
	case errors.As(err, &other):
		return &ConnectError{Problem: CertificateOfOther, Err: other}
	case isAlert(err):
		return &ConnectError{Problem: TurnedAway, Err: innermostError(err)}
	case isTimeout(err):
		return &ConnectError{Problem: Silent, Err: err}
	case isClosedByPeer(err):
		return &ConnectError{Problem: ClosedAtOnce, Err: err}
	case strings.Contains(err.Error(), "ALPN"): // gRPC's own, which has no type
		return &ConnectError{Problem: SpeaksOther, Err: err}
	}
	return &ConnectError{Problem: HandshakeFailed, Err: innermostError(err)}
}

// isAlert says whether the other side ended a connection with a word of TLS, such as "expired certificate".
func isAlert(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error"
}
