package wire

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc/credentials"
)

// connectAttempts keeps the results of a link's attempts to connect. gRPC reports an attempt as text alone, so it is watched
// where it happens: in the dial, in the handshake and at the first bytes that the other side sends.
type connectAttempts struct {
	secure bool // this side speaks TLS

	mu     sync.Mutex
	stage  connectStage // of the attempt under way
	failed *ConnectError
}

// connectStage is how far an attempt to connect has come.
type connectStage uint8

const (
	dialing connectStage = iota
	shaking              // connected, in the handshake of TLS
	waiting              // for the first bytes
	speaking
)

func (a *connectAttempts) reachStage(s connectStage) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stage = s
	if s == speaking {
		a.failed = nil
	}
}

func (a *connectAttempts) noteFailure(e *ConnectError) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.failed = e
}

// worstFailure is the failure of the latest attempt that ended, or else how far the present one has come. It is nil when the
// other side speaks HTTP/2.
func (a *connectAttempts) worstFailure() *ConnectError {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.failed != nil:
		return a.failed
	case a.stage == dialing:
		return &ConnectError{Problem: NoAnswer}
	case a.stage == shaking || a.stage == waiting:
		return &ConnectError{Problem: Silent}
	}
	return nil
}

func (a *connectAttempts) dialNoting(dial Dial) Dial {
	return func(ctx context.Context, address string) (net.Conn, error) {
		a.reachStage(dialing)
		conn, err := dial(ctx, address)
		switch {
		case err == nil:
		case errors.Is(err, syscall.ECONNREFUSED):
			a.noteFailure(&ConnectError{Problem: RefusedConnection, Err: err})
		case isTimeout(err):
			a.noteFailure(&ConnectError{Problem: NoAnswer, Err: err})
		default:
			a.noteFailure(&ConnectError{Problem: CannotDial, Err: innermostError(err)})
		}
		return conn, err
	}
}

// watchedCredentials watch the handshake and the first bytes after it.
type watchedCredentials struct {
	credentials.TransportCredentials
	attempts *connectAttempts
}

func (w watchedCredentials) Clone() credentials.TransportCredentials {
	return watchedCredentials{w.TransportCredentials.Clone(), w.attempts}
}

func (w watchedCredentials) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	w.attempts.reachStage(shaking)
	conn, info, err := w.TransportCredentials.ClientHandshake(ctx, authority, raw)
	if err != nil {
		if ctx.Err() != nil {
			w.attempts.noteFailure(&ConnectError{Problem: Silent, Err: err})
		} else {
			w.attempts.noteFailure(handshakeError(err))
		}
		return conn, info, err
	}
	w.attempts.reachStage(waiting)
	return &firstBytesConn{Conn: conn, attempts: w.attempts}, info, nil
}

// firstBytesConn looks at the first bytes that the other side sends.
type firstBytesConn struct {
	net.Conn
	attempts *connectAttempts
	heard    atomic.Bool
}

func (c *firstBytesConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 || err != nil {
		c.noteFirstBytes(p[:n], err)
	}
	return n, err
}

// Write may find first that the other side has closed the connection. What gRPC then reads says only that gRPC closed it.
func (c *firstBytesConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if err != nil {
		c.noteFirstBytes(nil, err)
	}
	return n, err
}

func (c *firstBytesConn) noteFirstBytes(b []byte, err error) {
	if c.heard.Swap(true) {
		return
	}
	if failed := judgeFirstBytes(b, err, c.attempts.secure); failed != nil {
		c.attempts.noteFailure(failed)
	} else {
		c.attempts.reachStage(speaking)
	}
}

// judgeFirstBytes names the fault in the first bytes of the other side, nil if there is none: a node begins with a
// frame of settings.
func judgeFirstBytes(b []byte, err error, secure bool) *ConnectError {
	switch {
	case speaksHTTP2(b):
		return nil
	case bytes.HasPrefix(b, []byte("HTTP/")):
		return &ConnectError{Problem: SpeaksHTTP}
	case !secure && speaksTLS(b):
		return &ConnectError{Problem: SpeaksTLS}
	case len(b) > 0:
		return &ConnectError{Problem: SpeaksOther}
	case isAlert(err):
		return &ConnectError{Problem: TurnedAway, Err: innermostError(err)}
	case errors.Is(err, net.ErrClosed) || isTimeout(err): // gRPC closes a connection on which nothing comes
		return &ConnectError{Problem: Silent, Err: err}
	}
	if secure { // the handshake is over here, and the other side's word on our certificate was lost with the connection
		return &ConnectError{Problem: TurnedAway, Err: err}
	}
	return &ConnectError{Problem: ClosedAtOnce, Err: err}
}

const frameOfSettings = 4

func speaksHTTP2(b []byte) bool {
	return len(b) >= 4 && b[0] == 0 && b[3] == frameOfSettings
}

func speaksTLS(b []byte) bool {
	const alert, handshake, major = 21, 22, 3
	return len(b) >= 2 && (b[0] == alert || b[0] == handshake) && b[1] == major
}

// lookLimit bounds the second look at a port.
const lookLimit = time.Second

// probeForTLS tells a port that speaks TLS from one that closes every connection of ours: both close plain-text connections.
func probeForTLS(ctx context.Context, dial Dial, address string) (answersTLS bool) {
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	raw, err := dial(ctx, address)
	if err != nil {
		return false
	}
	defer raw.Close()
	heard := &recordingConn{Conn: raw}
	// Nothing is sent over it but the greeting, and nothing that comes back is believed.
	secured := tls.Client(heard, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	_ = secured.HandshakeContext(ctx)
	return speaksTLS(heard.first)
}

// recordingConn keeps the first bytes that a connection brings.
type recordingConn struct {
	net.Conn
	first []byte
}

func (b *recordingConn) Read(p []byte) (int, error) {
	n, err := b.Conn.Read(p)
	if len(b.first) < 5 {
		b.first = append(b.first, p[:n]...)
	}
	return n, err
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || errors.As(err, &timeout) && timeout.Timeout()
}

// innermostError is the cause at the bottom of an error: the wrapping texts name addresses that the reader has been told
// already.
func innermostError(err error) error {
	for {
		below := errors.Unwrap(err)
		if below == nil {
			return err
		}
		err = below
	}
}

func isClosedByPeer(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
