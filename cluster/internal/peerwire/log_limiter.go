package peerwire

import (
	"sync"
	"time"
)

// LogLimiter bounds how often the log mentions an address that fails again and again: once in logLimitPeriod.
type LogLimiter struct {
	mu         sync.Mutex
	lastLogged map[string]time.Time // by address
}

const (
	logLimitPeriod      = time.Minute
	maxLimitedAddresses = 64 // addresses that are remembered
)

// ShouldLog reports whether a failure of that address is to be logged now.
func (l *LogLimiter) ShouldLog(address string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for at, when := range l.lastLogged {
		if now.Sub(when) >= logLimitPeriod {
			delete(l.lastLogged, at)
		}
	}
	if _, recent := l.lastLogged[address]; recent || len(l.lastLogged) >= maxLimitedAddresses {
		return false
	}
	if l.lastLogged == nil {
		l.lastLogged = map[string]time.Time{}
	}
	l.lastLogged[address] = now
	return true
}
