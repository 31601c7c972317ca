//go:build !linux

package wire

import (
	"net"
	"time"
)

// limitUnacknowledged has no counterpart here: a request that hears nothing for its patience has its connection replaced
// instead.
func limitUnacknowledged(net.Conn, time.Duration) error { return nil }
