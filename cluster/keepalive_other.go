//go:build !linux

package cluster

import (
	"net"
	"time"
)

// keepAlive makes the kernel give up on a silent peer within seconds. Data under way to it waits for as long as the
// system pleases.
func keepAlive(c net.Conn) error {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return nil
	}
	return tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3})
}
