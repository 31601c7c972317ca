package cluster

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// keepAlive makes the kernel give up on a peer that answers nothing within a few seconds, whether data is under way to it
// or not.
func keepAlive(c net.Conn) error {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return nil
	}
	if err := tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3}); err != nil {
		return err
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(progressLimit.Milliseconds()))
	})
	if err != nil {
		return err
	}
	return failed
}
