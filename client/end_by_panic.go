package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/profilenode/profilenode/api/profilev1"
)

// maxPanicText is the number of bytes of a panic's text that the replicated log keeps.
const maxPanicText = 1024

// errGoexit is the panic value of a handler that ended its goroutine instead of panicking.
var errGoexit = errors.New("it ended its goroutine (runtime.Goexit)")

// endByPanic ends a session because code of the game panicked with value while it had the data, which may be half changed
// now. The parameter which names that code, such as "the handler of OnSave". Data that is not stored by then is lost, as in
// a crash, and nothing more is stored. The release counts the panics of message handlers; it is tried in the background
// until the log has it, under one number, so that none is lost and none counts twice. It is called under data, and does not
// wait.
func (s *session) endByPanic(which string, value any, stack []byte, panics ...*profilev1.MessagePanic) {
	text := fmt.Sprint(value)
	why := endError(s.ref, EndPanicked, nil, nil)
	why.Code, why.Sentence = CodePanicked, fmt.Sprintf("%s panicked: %s; unsaved changes are lost", which, text)
	s.client.handlers.reportError(panickedError(which, s.ref, &panicError{value, stack}))
	if !s.concludeSession(gamePanicked, EndPanicked, why) {
		return
	}
	s.mu.Lock()
	l, token := s.grant.incarnation, s.grant.token
	s.mu.Unlock()
	request := &profilev1.ReleaseRequest{
		Store: s.ref.Store, Key: s.ref.Key, Token: token, Cause: profilev1.Cause_CAUSE_PANICKED, Panics: panics,
	}
	if !s.client.life.startGoroutine(func() { s.releaseByPanic(l, request) }) {
		s.freeKey()
	}
}

// releaseByPanic waits for the write that is under way, which holds nothing that the panic left behind, and releases.
func (s *session) releaseByPanic(l *incarnation, request *profilev1.ReleaseRequest) {
	c := s.client
	defer s.freeKey()
	select {
	case s.turn <- struct{}{}:
		defer s.turn.giveBack()
	case <-c.life.ctx.Done():
		return
	}
	err := c.link.sendUntilAnswered(c.life.ctx, &change{
		act: "release", ref: s.ref, incarnation: l, method: profilev1.Profiles_Release_FullMethodName,
		request: request, answer: &profilev1.ReleaseResponse{},
	})
	if err != nil && len(request.Panics) > 0 {
		c.config.Log.Warn("count a message handler's panic: it is not counted, and the message will be given to the next owner",
			"profile", s.ref.String(), "message", request.Panics[0].Message, "error", err)
	} else if err != nil && !errors.Is(err, ErrSessionOver) {
		c.config.Log.Warn("release a grant", "profile", s.ref.String(), "error", err)
	}
}

// waitForPanics waits until the log has the releases that count panics: the goodbye would end these sessions uncounted.
func (c *Client) waitForPanics(ctx context.Context) {
	for _, s := range c.sessions.allSessions() {
		s.mu.Lock()
		panicked := s.state == sessionPanicked
		s.mu.Unlock()
		if !panicked {
			continue
		}
		select {
		case <-s.keyFreed:
		case <-ctx.Done():
			return
		}
	}
}

// panicText is the value of a panic as the log keeps it: text in UTF-8, cut to maxPanicText.
func panicText(value any) string {
	text := strings.ToValidUTF8(fmt.Sprint(value), "\uFFFD")
	if len(text) <= maxPanicText {
		return text
	}
	text = text[:maxPanicText]
	for !utf8.ValidString(text) {
		text = text[:len(text)-1]
	}
	return text
}
