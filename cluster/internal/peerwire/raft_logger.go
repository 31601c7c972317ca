package peerwire

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// NewRaftLogger returns a logger with which raft writes to a slog.Logger. Raft says the same several times a second while a
// node is away or no leader is elected, so each message about each node is logged once a minute, with how often it was left
// out. Messages with a code, and those at debug level, are all logged.
func NewRaftLogger(log *slog.Logger) hclog.Logger {
	return raftLogger{logger: log, name: "raft", repeats: &repeatCounter{seen: map[string]repeats{}}}
}

// raftLogger lets raft write to a slog.Logger.
type raftLogger struct {
	logger  *slog.Logger
	name    string
	fields  []any
	repeats *repeatCounter
}

var _ hclog.Logger = raftLogger{}

func slogLevel(l hclog.Level) slog.Level {
	switch l {
	case hclog.Error:
		return slog.LevelError
	case hclog.Warn:
		return slog.LevelWarn
	case hclog.Info:
		return slog.LevelInfo
	case hclog.Debug, hclog.NoLevel:
		return slog.LevelDebug
	}
	return slog.LevelDebug - 4
}

func (r raftLogger) Log(l hclog.Level, msg string, args ...any) {
	if l == hclog.Error && peerTrouble[msg] {
		l = hclog.Warn
	}
	if !r.isEnabled(l) {
		return
	}
	fields := formatFields(args)
	if code := raftEvents[msg]; code != "" {
		fields = append(fields, "code", code)
	} else if l >= hclog.Info {
		leftOut, due := r.repeats.isDue(msg+" "+nodeIn(fields), time.Now())
		if !due {
			return
		}
		if leftOut > 0 {
			fields = append(fields, "left out since", leftOut)
		}
	}
	r.logger.Log(context.Background(), slogLevel(l), r.name+": "+msg, fields...)
}

// nodeIn is the node that the fields of a message name, empty if they name none.
func nodeIn(fields []any) string {
	for i := 0; i+1 < len(fields); i += 2 {
		switch fields[i] {
		case "peer", "target", "server-id", "from", "candidate":
			return fmt.Sprint(fields[i+1])
		}
	}
	return ""
}

// repeatCounter counts messages that are logged once a minute.
type repeatCounter struct {
	mu   sync.Mutex
	seen map[string]repeats
}

type repeats struct {
	logged  time.Time
	leftOut int // since logged
}

const maxRepeats = 256 // messages that are counted; beyond them, messages are logged each time

// isDue says whether a message is to be logged, and how often it was left out since it was logged last.
func (c *repeatCounter) isDue(message string, now time.Time) (leftOut int, due bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	last, known := c.seen[message]
	if known && now.Sub(last.logged) < logLimitPeriod {
		last.leftOut++
		c.seen[message] = last
		return 0, false
	}
	if len(c.seen) >= maxRepeats {
		maps.DeleteFunc(c.seen, func(_ string, r repeats) bool { return now.Sub(r.logged) >= 2*logLimitPeriod })
	}
	if known || len(c.seen) < maxRepeats {
		c.seen[message] = repeats{logged: now}
	}
	return last.leftOut, true
}

// raftEvents are codes for those messages of raft that programs look for in a node's log, so that no program but this one
// depends on raft's wording.
var raftEvents = map[string]string{
	"entering follower state":   "FOLLOWS",
	"starting snapshot up to":   "SNAPSHOT_BEGINS",
	"snapshot complete up to":   "SNAPSHOT_COMPLETE",
	"failed to take snapshot":   "SNAPSHOT_FAILED",
	"compacting logs":           "LOG_CUT",
	"copied to local snapshot":  "SNAPSHOT_RECEIVED",
	"Installed remote snapshot": "SNAPSHOT_INSTALLED",
}

// peerTrouble are raft's messages about a connection to another node. Raft logs them as errors, but one node that is away
// or stops is no fault of this one: while a majority answers the cluster works, and if none does there is an alarm.
var peerTrouble = map[string]bool{
	"failed to appendEntries to":              true,
	"failed to decode incoming command":       true,
	"failed to flush response":                true,
	"failed to heartbeat to":                  true,
	"failed to pipeline appendEntries":        true,
	"failed to make requestVote RPC":          true,
	"failed to start pipeline replication to": true,
}

// formatFields puts into words the fields that raft leaves to its logger to format.
func formatFields(args []any) []any {
	out := make([]any, len(args))
	for i, arg := range args {
		out[i] = arg
		if later, ok := arg.(hclog.Format); ok && len(later) > 0 {
			if format, ok := later[0].(string); ok {
				out[i] = fmt.Sprintf(format, later[1:]...)
			}
		}
	}
	return out
}

func (r raftLogger) Trace(msg string, args ...any) { r.Log(hclog.Trace, msg, args...) }
func (r raftLogger) Debug(msg string, args ...any) { r.Log(hclog.Debug, msg, args...) }
func (r raftLogger) Info(msg string, args ...any)  { r.Log(hclog.Info, msg, args...) }
func (r raftLogger) Warn(msg string, args ...any)  { r.Log(hclog.Warn, msg, args...) }
func (r raftLogger) Error(msg string, args ...any) { r.Log(hclog.Error, msg, args...) }

func (r raftLogger) isEnabled(l hclog.Level) bool {
	return r.logger.Enabled(context.Background(), slogLevel(l))
}

func (r raftLogger) IsTrace() bool { return r.isEnabled(hclog.Trace) }
func (r raftLogger) IsDebug() bool { return r.isEnabled(hclog.Debug) }
func (r raftLogger) IsInfo() bool  { return r.isEnabled(hclog.Info) }
func (r raftLogger) IsWarn() bool  { return r.isEnabled(hclog.Warn) }
func (r raftLogger) IsError() bool { return r.isEnabled(hclog.Error) }

func (r raftLogger) ImpliedArgs() []any { return r.fields }

func (r raftLogger) With(args ...any) hclog.Logger {
	return raftLogger{logger: r.logger.With(formatFields(args)...), name: r.name, repeats: r.repeats, fields: append(r.fields[:len(r.fields):len(r.fields)], args...)}
}

func (r raftLogger) Name() string { return r.name }

func (r raftLogger) Named(name string) hclog.Logger {
	return raftLogger{logger: r.logger, name: r.name + "." + name, fields: r.fields, repeats: r.repeats}
}

func (r raftLogger) ResetNamed(name string) hclog.Logger {
	return raftLogger{logger: r.logger, name: name, fields: r.fields, repeats: r.repeats}
}

func (r raftLogger) SetLevel(hclog.Level) {}

func (r raftLogger) GetLevel() hclog.Level {
	for l := hclog.Trace; l < hclog.Error; l++ {
		if r.isEnabled(l) {
			return l
		}
	}
	return hclog.Error
}

func (r raftLogger) StandardLogger(o *hclog.StandardLoggerOptions) *log.Logger {
	return log.New(r.StandardWriter(o), "", 0)
}

func (r raftLogger) StandardWriter(*hclog.StandardLoggerOptions) io.Writer { return raftLogWriter{r} }

type raftLogWriter struct{ log raftLogger }

func (w raftLogWriter) Write(line []byte) (int, error) {
	w.log.Info(string(line))
	return len(line), nil
}
