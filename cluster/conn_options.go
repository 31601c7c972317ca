package cluster

import (
	"net"
	"time"

	"github.com/profilenode/profilenode/internal/tcp"
)

// setKeepAlive makes the kernel give up on a peer that answers nothing within a few seconds, whether data is under way to it
// or not. Where the system cannot limit unacknowledged data, that waits for as long as the system pleases.
func setKeepAlive(c net.Conn) error {
	conn, ok := c.(*net.TCPConn)
	if !ok {
		return nil
	}
	if err := conn.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3}); err != nil {
		return err
	}
	return tcp.LimitUnacknowledged(c, progressLimit)
}
