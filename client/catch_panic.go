package client

import (
	"errors"
	"fmt"
	"runtime/debug"
)

// panicError is a panic of the game's code.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string {
	if e.value == errGoexit {
		return errGoexit.Error()
	}
	return fmt.Sprintf("panic: %v", e.value)
}

// Unwrap gives errors.Is the value that the game panicked with, if it is an error.
func (e *panicError) Unwrap() error {
	err, _ := e.value.(error)
	return err
}

// catchPanic runs a function of the game and returns its panic as an error. where names the function, for people. The
// function has a goroutine of its own, which it may end (runtime.Goexit, as a test's FailNow does): that too is an error,
// and the caller's goroutine, which has other work to do, goes on.
func catchPanic(where string, ref Ref, f func()) *Error {
	var caught *panicError
	ended := make(chan struct{})
	go func() {
		returned := false
		defer close(ended)
		defer func() {
			if returned {
				return
			}
			value := recover()
			if value == nil {
				value = errGoexit
			}
			caught = &panicError{value, debug.Stack()}
		}()
		f()
		returned = true
	}()
	<-ended
	if caught == nil {
		return nil
	}
	return panickedError(where, ref, caught)
}

func panickedError(where string, ref Ref, cause *panicError) *Error {
	return &Error{Act: "run " + where, Ref: ref, Kind: ErrInvalid, Code: CodePanicked, Cause: cause}
}

// runHandlerAlone runs a handler of the game that is given no data. A panic of it is reported and ends nothing.
func (g *gameHandlers) runHandlerAlone(where string, ref Ref, f func()) {
	if e := catchPanic(where, ref, func() { runHandler(f) }); e != nil {
		g.reportError(e)
	}
}

// withData runs a function of the game that has the profile's data. The caller holds the profile's lock. If the function
// panics the data may be half changed, so the session is over with the data stored before, as if the process had crashed.
func (s *session) withData(where string, f func()) error {
	e := catchPanic(where, s.ref, f)
	if e == nil {
		return nil
	}
	cause := e.Cause.(*panicError)
	s.endByPanic(where, cause.value, cause.stack)
	return s.checkWritable("save")
}

// runUpdate runs the game's function for Update. Its panic goes on to the caller of Update, after the session has ended.
func (s *session) runUpdate(f func()) {
	returned := false
	defer func() {
		if returned {
			return
		}
		value := recover()
		if value == nil {
			s.endByPanic("Update", errGoexit, debug.Stack())
			return
		}
		s.endByPanic("Update", value, debug.Stack())
		panic(value)
	}()
	f()
	returned = true
}

// stackOf is where the game's code panicked, for the log; empty if it did not.
func stackOf(err error) string {
	var p *panicError
	if errors.As(err, &p) {
		return string(p.stack)
	}
	return ""
}
