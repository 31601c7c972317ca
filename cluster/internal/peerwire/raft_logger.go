package peerwire

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// NewRaftLogger returns a logger with which raft writes to a slog.Logger.
func NewRaftLogger(log *slog.Logger) hclog.Logger { return raftLogger{logger: log, name: "raft"} }

// raftLogger lets raft write to a slog.Logger.
type raftLogger struct {
	logger *slog.Logger
	name   string
	fields []any
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
	if r.isEnabled(l) {
		fields := formatFields(args)
		if code := raftEvents[msg]; code != "" {
			fields = append(fields, "code", code)
		}
		r.logger.Log(context.Background(), slogLevel(l), r.name+": "+msg, fields...)
	}
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
	return raftLogger{logger: r.logger.With(formatFields(args)...), name: r.name, fields: append(r.fields[:len(r.fields):len(r.fields)], args...)}
}

func (r raftLogger) Name() string { return r.name }

func (r raftLogger) Named(name string) hclog.Logger {
	return raftLogger{logger: r.logger, name: r.name + "." + name, fields: r.fields}
}

func (r raftLogger) ResetNamed(name string) hclog.Logger {
	return raftLogger{logger: r.logger, name: name, fields: r.fields}
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
