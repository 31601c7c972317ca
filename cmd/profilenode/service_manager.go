package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// statusPeriod is how often the line in systemctl status is brought up to date.
const statusPeriod = 5 * time.Second

// supervisedNode is what a service manager is told about.
type supervisedNode interface {
	healthSource
	CheckRaft() error
}

// serviceManager tells systemd how the node is, where systemd runs this process with Type=notify (sd_notify(3)).
type serviceManager struct {
	log      *slog.Logger
	watchdog time.Duration // how often it wants to hear of this process; 0: it does not watch it
	failed   atomic.Bool   // the last message could not be sent
}

func newServiceManager(log *slog.Logger) *serviceManager {
	watchdog, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("the service manager's watchdog is not served", "error", err)
	}
	return &serviceManager{log: log, watchdog: watchdog}
}

// notify sends a state. Where no service manager waits for one it does nothing.
func (m *serviceManager) notify(state string) {
	_, err := daemon.SdNotify(false, state)
	if failed := err != nil; m.failed.Swap(failed) != failed && failed {
		m.log.Warn("the service manager cannot be told of this node's state", "error", err)
	}
}

// tellStatus tells the service manager how the node is until ctx ends, and that it lives.
//
// The watchdog is left without a word only where a restart helps and this process may not end by itself: after the node has
// stopped itself, as a leader does whose disk hangs, and when raft answers nothing though the disk works. A missing majority, and a
// hung disk of any other node, are alarms: a restart would make nothing better, and would lose what this node knows.
func (m *serviceManager) tellStatus(ctx context.Context, node supervisedNode) {
	period := statusPeriod
	if m.watchdog > 0 {
		period = min(period, m.watchdog/4)
	}
	tick := time.NewTicker(period)
	defer tick.Stop()
	told, starved := "", false
	for {
		if status := describeForManager(node); status != told {
			m.notify("STATUS=" + status)
			told = status
		}
		if m.watchdog > 0 {
			stuck := checkStuck(node)
			if stuck == nil {
				m.notify(daemon.SdNotifyWatchdog)
			} else if !starved {
				m.log.Error("the service manager is not told any more that this process works, so that it ends it", "code", "WATCHDOG_STARVED", "cause", stuck)
			}
			starved = stuck != nil
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// checkStuck says why this process ought to be ended from outside.
func checkStuck(node supervisedNode) error {
	if err := checkAlive(node); err != nil {
		return err
	}
	return node.CheckRaft()
}

func describeForManager(node supervisedNode) string {
	if err := checkReady(node); err != nil {
		return "not ready: " + firstLine(err.Error())
	}
	leader, self := node.Leader()
	if self {
		return "ready, leads"
	}
	return fmt.Sprintf("ready, follows %s", leader)
}
