package cluster

import "github.com/profilenode/profilenode/cluster/internal/peerwire"

// HandshakeLog logs failed TLS handshakes. A node's port for clients logs them in the same words as its port for nodes.
type HandshakeLog = peerwire.HandshakeLog

// ErrSpeaksTLS is the cause of a failed handshake on a port without TLS.
var ErrSpeaksTLS = peerwire.ErrSpeaksTLS

// SpeaksTLS reports whether the first bytes of a connection begin a TLS handshake.
func SpeaksTLS(first []byte) bool { return peerwire.SpeaksTLS(first) }
