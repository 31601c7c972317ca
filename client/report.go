package client

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

// reportError reports an error that no call of the game returns: to the log, and to Config.OnError, which gets one error
// after the other.
func (c *Client) reportError(e *Error) {
	args := []any{"act", e.Act, "profile", e.Ref.String(), "code", string(e.Code)}
	if stack := stackOf(e); stack != "" {
		args = append(args, "stack", stack)
	}
	c.config.Log.Warn(e.Error(), args...)
	if c.config.OnError != nil {
		c.reports.enqueue(func() { c.runOnError(e) }, c.startHandler)
	}
}

// runOnError logs a panic of OnError, and does not report it there again.
func (c *Client) runOnError(e *Error) {
	if p := catchPanic("OnError", Ref{}, func() { runHandler(func() { c.config.OnError(e) }) }); p != nil {
		c.config.Log.Warn(p.Error(), "code", string(p.Code), "stack", stackOf(p))
	}
}

// reportDoubt reports that the sessions have come into doubt, or are held again after so long.
func (c *Client) reportDoubt(doubt bool, lasted time.Duration) {
	e := &Error{
		Act: "keep sessions", Kind: ErrUnavailable, Code: CodeDoubtBegins,
		Sentence: "no node has confirmed them for too long, so they are in doubt: saves wait, and nothing should leave a profile",
	}
	if !doubt {
		e.Code = CodeDoubtEnds
		e.Sentence = fmt.Sprintf("the cluster is heard again after %v in doubt: the sessions that are left are held", lasted.Round(time.Millisecond))
	}
	c.reportError(e)
}

// warnHandler is the log of a game that names none: it passes warnings and errors on to the default log.
type warnHandler struct{ slog.Handler }

func (w warnHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && w.Handler.Enabled(ctx, level)
}

func (w warnHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return warnHandler{w.Handler.WithAttrs(attrs)}
}
func (w warnHandler) WithGroup(name string) slog.Handler {
	return warnHandler{w.Handler.WithGroup(name)}
}
