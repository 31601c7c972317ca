package server

import (
	"cmp"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/profilenode/profilenode/cluster"
)

const (
	unregisteredIdle = 60 * time.Second // an unregistered connection without a call for this long may be closed for others
	idleCheckPeriod  = 5 * time.Second
	connAlarmPercent = 80 // of the limit in use, from which the alarm stands
)

// connLimiter bounds the open connections of the clients' port. Each one takes a file descriptor, and without descriptors a node
// can write neither log nor tables. Half of the limit is for anyone; beyond it, connections that no game server uses make room.
type connLimiter struct {
	limit   int // of all open connections; 0: none
	perHost int // of the connections of one host; limit unless Limits says otherwise, since a fleet behind NAT is one host
	refused *rareLog

	mu     sync.Mutex
	open   map[*peerConn]string // host of each
	byHost map[string]int
}

func newConnLimiter(l Limits, log *slog.Logger) *connLimiter {
	c := &connLimiter{limit: l.Conns, perHost: l.ConnsPerHost, open: map[*peerConn]string{}, byHost: map[string]int{},
		refused: &rareLog{log: log, message: "refuses connections of clients", counted: "refused"}}
	if c.perHost == 0 {
		c.perHost = c.limit
	}
	return c
}

// admit counts a new connection. It returns false if the connection has to be closed, since too many are open.
func (l *connLimiter) admit(c *peerConn) bool {
	host := hostOf(c.Conn.RemoteAddr())
	now := time.Now()
	l.mu.Lock()
	if l.limit > 0 && len(l.open) >= l.limit {
		l.mu.Unlock()
		l.closeIdle(now, 1)
		l.mu.Lock()
	}
	var why string
	switch {
	case l.limit > 0 && len(l.open) >= l.limit:
		why = fmt.Sprintf("%d connections are open, the limit of this node", len(l.open))
	case l.limit > 0 && l.byHost[host] >= l.perHost:
		why = fmt.Sprintf("%d connections of that host are open, the limit of one host", l.byHost[host])
	default:
		l.open[c] = host
		l.byHost[host]++
		l.mu.Unlock()
		return true
	}
	l.mu.Unlock()
	l.refused.warn("code", "CONNECTIONS_REFUSED", "host", host, "reason", why)
	return false
}

// hostOf is an address without its port.
func hostOf(address net.Addr) string {
	host, _, err := net.SplitHostPort(address.String())
	if err != nil {
		return address.String()
	}
	return host
}

// forget counts a connection no more.
func (l *connLimiter) forget(c *peerConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	host, ok := l.open[c]
	if !ok {
		return
	}
	delete(l.open, c)
	if l.byHost[host]--; l.byHost[host] == 0 {
		delete(l.byHost, host)
	}
}

// inUse is the number of open connections.
func (l *connLimiter) inUse() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.open)
}

// closeIdleUntil closes idle connections whenever more than half of the limit is in use, until done is closed.
func (l *connLimiter) closeIdleUntil(done <-chan struct{}) {
	if l.limit == 0 {
		return
	}
	tick := time.NewTicker(idleCheckPeriod)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
			l.closeIdle(time.Now(), l.inUse()-l.limit/2)
		}
	}
}

// closeIdle closes up to count connections that no game server uses and that have had no call for a while, the longest idle
// first.
func (l *connLimiter) closeIdle(now time.Time, count int) {
	if count <= 0 {
		return
	}
	type idleConn struct {
		conn *peerConn
		idle time.Duration
	}
	var idle []idleConn
	l.mu.Lock()
	for c := range l.open {
		if d, ok := c.idleFor(now); ok && d >= unregisteredIdle {
			idle = append(idle, idleConn{c, d})
		}
	}
	l.mu.Unlock()
	slices.SortFunc(idle, func(a, b idleConn) int { return cmp.Compare(b.idle, a.idle) })
	for _, c := range idle[:min(count, len(idle))] {
		_ = c.conn.Close()
	}
}

// alarms are those of the clients' port.
func (l *connLimiter) alarms() []cluster.Alarm {
	used := l.inUse()
	if l.limit == 0 || used < l.limit*connAlarmPercent/100 {
		return nil
	}
	return []cluster.Alarm{{Code: cluster.AlarmConnectionsHigh, Text: fmt.Sprintf(
		"%d of at most %d connections of clients are open here: look for a client that opens too many (`ss -tn`), "+
			"or let this process open more files (LimitNOFILE, ulimit -n) and raise max-connections", used, l.limit)}}
}
