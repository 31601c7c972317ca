//go:build !linux

package tcp

import (
	"net"
	"time"
)

// LimitUnacknowledged has no counterpart here, and does nothing: callers have another way to notice a dead connection.
func LimitUnacknowledged(net.Conn, time.Duration) error { return nil }
