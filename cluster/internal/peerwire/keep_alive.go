package peerwire

import (
	"net"
	"time"

	"github.com/profilenode/profilenode/internal/tcp"
)

// setKeepAlive makes the kernel close a connection whose peer answers nothing for a few seconds, whether data is under way
// to it or not. Where the system cannot limit unacknowledged data, the system's own limit holds for that.
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
