package client

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

// gameHandlers runs the game's handlers that are given no data, outside of every lock, and reports errors to them and to the
// log. Its queues lock themselves.
type gameHandlers struct {
	config  Config
	doubts  handlerQueue    // in which OnDoubt and OnResume run
	reports handlerQueue    // in which OnError runs
	running runningHandlers // goroutines that run any of them
}

// reportError reports an error that no call of the game returns: to the log, and to Config.OnError, which gets one error
// after the other.
func (g *gameHandlers) reportError(e *Error) {
	args := []any{"act", e.Act, "profile", e.Ref.String(), "code", string(e.Code)}
	if stack := stackOf(e); stack != "" {
		args = append(args, "stack", stack)
	}
	g.config.Log.Warn(e.Error(), args...)
	if g.config.OnError != nil {
		g.reports.enqueue(func() { g.runOnError(e) }, g.startHandler)
	}
}

// runOnError logs a panic of OnError, and does not report it there again.
func (g *gameHandlers) runOnError(e *Error) {
	if p := catchPanic("OnError", Ref{}, func() { runHandler(func() { g.config.OnError(e) }) }); p != nil {
		g.config.Log.Warn(p.Error(), "code", string(p.Code), "stack", stackOf(p))
	}
}

// reportDoubt reports that the sessions have come into doubt, or are held again after so long.
func (g *gameHandlers) reportDoubt(doubt bool, lasted time.Duration) {
	e := &Error{
		Act: "keep sessions", Kind: ErrUnavailable, Code: CodeDoubtBegins,
		Sentence: "no node has confirmed them for too long, so they are in doubt: saves wait, and nothing should leave a profile",
	}
	if !doubt {
		e.Code = CodeDoubtEnds
		e.Sentence = fmt.Sprintf("the cluster is heard again after %v in doubt: the sessions that are left are held", lasted.Round(time.Millisecond))
	}
	g.reportError(e)
}

// runDoubtHandlers tells the game that sessions may be in doubt, or after so long are no more.
func (g *gameHandlers) runDoubtHandlers(doubt bool, lasted time.Duration) {
	g.reportDoubt(doubt, lasted)
	where, told := "OnResume", g.config.OnResume
	if doubt {
		where, told = "OnDoubt", g.config.OnDoubt
	}
	if told != nil {
		g.doubts.enqueue(func() { g.runHandlerAlone(where, Ref{}, told) }, g.startHandler)
	}
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
