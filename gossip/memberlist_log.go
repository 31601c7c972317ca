package gossip

import (
	"context"
	"log"
	"log/slog"
	"strings"
)

// newMemberlistLogger makes a logger for memberlist that writes to a slog.Logger. memberlist's lines begin with their
// level, as "[WARN] memberlist: ...". With quiet no line is logged above info.
func newMemberlistLogger(to *slog.Logger, quiet bool) *log.Logger {
	return log.New(logLines{to, quiet}, "", 0)
}

type logLines struct {
	to    *slog.Logger
	quiet bool
}

// Write takes one line: a log.Logger passes each line in one call.
func (l logLines) Write(line []byte) (int, error) {
	level, text := slog.LevelWarn, strings.TrimSpace(string(line))
	if name, rest, ok := strings.Cut(strings.TrimPrefix(text, "["), "] "); ok && strings.HasPrefix(text, "[") {
		switch name {
		case "DEBUG":
			level, text = slog.LevelDebug, rest
		case "INFO":
			level, text = slog.LevelInfo, rest
		case "WARN":
			level, text = slog.LevelWarn, rest
		case "ERR", "ERROR":
			level, text = slog.LevelError, rest
		}
	}
	if l.quiet {
		level = min(level, slog.LevelInfo)
	}
	l.to.Log(context.Background(), level, strings.TrimPrefix(text, "memberlist: "))
	return len(line), nil
}
