//go:build !linux

package tcp

import (
	"net"
	"time"
)

// LimitUnacknowledged does nothing: TCP_USER_TIMEOUT exists on Linux alone. gRPC's pings and the callers' own timeouts
// notice a dead connection here, later.
func LimitUnacknowledged(net.Conn, time.Duration) error { return nil }
