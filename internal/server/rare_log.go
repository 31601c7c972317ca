package server

import (
	"log/slog"
	"sync"
	"time"
)

const rareLogPeriod = time.Minute

// rareLog logs what a sick client may cause thousands of times a second: at once, and then at most once in rareLogPeriod, with how
// often it happened since.
type rareLog struct {
	log     *slog.Logger
	message string
	counted string // name of the count in the log

	mu    sync.Mutex
	count int       // since last
	last  time.Time // when it was logged
}

func (l *rareLog) warn(args ...any) {
	now := time.Now()
	l.mu.Lock()
	l.count++
	count, due := l.count, now.Sub(l.last) >= rareLogPeriod
	if due {
		l.count, l.last = 0, now
	}
	l.mu.Unlock()
	if due {
		l.log.Warn(l.message, append(args, l.counted, count)...)
	}
}
