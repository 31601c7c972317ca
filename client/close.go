package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/profilenode/profilenode/api/profilev1"
)

// endsAtOnce is the number of last saves that Close has on their way at once. A session does not count among them while the
// game holds its lock for longer than stuckAfter.
const (
	endsAtOnce = 64
	stuckAfter = 250 * time.Millisecond
)

// CloseError lists the profiles whose data Close could not store, or may not have stored.
type CloseError struct {
	Unsaved []Ref // the data's last changes are not stored
	Unknown []Ref // they may be stored
	Cause   error // of the first of them
}

func (e *CloseError) Error() string {
	var parts []string
	for _, p := range []struct {
		what string
		refs []Ref
	}{{"not saved", e.Unsaved}, {"perhaps not saved", e.Unknown}} {
		if len(p.refs) > 0 {
			parts = append(parts, fmt.Sprintf("%s: %s", p.what, joinRefs(p.refs)))
		}
	}
	return fmt.Sprintf("close: %s: %v", strings.Join(parts, "; "), e.Cause)
}

func (e *CloseError) Unwrap() error { return e.Cause }

func joinRefs(refs []Ref) string {
	const most = 8
	var b strings.Builder
	for i, ref := range refs {
		if i == most {
			fmt.Fprintf(&b, " and %d more", len(refs)-most)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(ref.String())
	}
	return b.String()
}

// Close is Shutdown with Config.CloseTimeout, 10 s by default.
func (c *Client) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), c.config.CloseTimeout)
	defer cancel()
	return c.closeOnce(ctx)
}

// Shutdown ends every session with a last save, says goodbye, so that no other game server waits for a lease, and returns
// when nothing of this client runs any more but handlers of the game that do not return. ctx bounds it all; work that is not
// done by then is left, and the error lists it. A context that has ended before the call, as that of a signal has, counts as
// none: then Config.CloseTimeout is the bound. It is always the bound for the game's own code: a handler that does not
// return, and a function that holds a profile's lock. Close and Shutdown may be called from a handler. Called from within
// Update, or from a handler that is given the data, they cannot save that profile, and say so.
//
// *CloseError: some data is not stored, or may not be. ErrClosed: it was closed before.
func (c *Client) Shutdown(ctx context.Context) error {
	if ctx.Err() != nil {
		return c.Close()
	}
	return c.closeOnce(ctx)
}

// Drain lets no new session begin: StartSession refuses with ErrClosed from here on. It returns the profiles that still
// have sessions here, or are getting one; call it again to see how many are left. A game server that is to go empty drains,
// sends its players elsewhere, and closes.
func (c *Client) Drain() []Ref { return c.sessions.drain() }

func sortRefs(refs []Ref) {
	slices.SortFunc(refs, func(a, b Ref) int { return strings.Compare(a.String(), b.String()) })
}

func (c *Client) closeOnce(ctx context.Context) error {
	if !c.life.beginClose() {
		return &Error{Act: "close", Kind: ErrClosed}
	}
	c.life.shut()

	left := c.endAllSessions(ctx)
	c.waitForPanics(ctx)
	close(c.life.sayingGoodbye)
	if l := c.keeper.presentIncarnation(); l != nil {
		// After a lease of silence the goodbye says nothing new.
		brief, cancel := context.WithTimeout(ctx, l.timing.Lease)
		defer cancel()
		err := c.link.sendUntilAnswered(brief, &change{
			act: "close", incarnation: l, method: profilev1.Profiles_EndServer_FullMethodName,
			request: &profilev1.EndServerRequest{}, answer: &profilev1.EndServerResponse{},
		})
		if err != nil && !errors.Is(err, ErrSessionOver) {
			c.config.Log.Warn("say goodbye: the cluster will wait for a lease", "error", err)
		}
	}
	for _, s := range c.sessions.allSessions() {
		end := endError(s.ref, EndShutDown, nil, ErrClosed)
		s.finishSession(end)
		s.giveUpKeptCopy(end)
		s.freeKey()
	}
	c.life.markClosed()
	c.life.stopBackground()
	c.waitForBackground(ctx)
	c.link.nodes.Close()
	c.ping.close()
	if len(left.Unsaved)+len(left.Unknown) > 0 {
		return left
	}
	return nil
}

// endAllSessions makes the last saves. For the game's own code, which may hold a profile's lock, it waits as long as a Close
// may take; for the cluster until ctx ends.
func (c *Client) endAllSessions(ctx context.Context) *CloseError {
	patience, cancel := context.WithTimeout(ctx, c.config.CloseTimeout)
	defer cancel()
	var mu sync.Mutex
	left := &CloseError{}
	note := func(s *session, err error) {
		mu.Lock()
		defer mu.Unlock()
		if err != nil && left.addIfUnsaved(s) && left.Cause == nil {
			left.Cause = err
		}
	}
	var ends sync.WaitGroup
	sessions := make(chan *session)
	for range endsAtOnce {
		ends.Go(func() {
			for s := range sessions {
				w, err := s.saves.requestSave(true, LastSaveShutdown, false)
				if err != nil || w == nil {
					note(s, err)
					continue
				}
				soon, cancel := context.WithTimeout(patience, stuckAfter)
				stuck := w.waitUntilEncoded(soon, s.ref) != nil
				cancel()
				if !stuck {
					note(s, w.waitForSave(ctx, s))
					continue
				}
				ends.Go(func() { // the others do not wait behind it
					err := w.waitUntilEncoded(patience, s.ref)
					if err == nil {
						err = w.waitForSave(ctx, s)
					}
					note(s, err)
				})
			}
		})
	}
	for _, s := range c.sessions.allSessions() {
		switch {
		case s.isKept(): // its save is being tried already
			ends.Go(func() {
				select {
				case <-s.keyFreed:
				case <-patience.Done():
				}
				note(s, endError(s.ref, EndOutOfReach, nil, nil))
			})
		case !isClosed(s.done):
			sessions <- s
		}
	}
	close(sessions)
	ends.Wait()
	for _, refs := range [][]Ref{left.Unsaved, left.Unknown} {
		sortRefs(refs)
	}
	return left
}

// addIfUnsaved lists a session that has data which is not known to be stored.
func (e *CloseError) addIfUnsaved(s *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.hasUnsavedChanges():
		return false
	case s.saves.mayHaveStoredAll():
		e.Unknown = append(e.Unknown, s.ref)
	default:
		e.Unsaved = append(e.Unsaved, s.ref)
	}
	return true
}

// waitForBackground waits for every goroutine. All but the game's own handlers end by themselves once the client has halted;
// these get until ctx ends, and a moment. Called from a handler it does not wait for the handlers that are on their own: it
// would wait for itself.
func (c *Client) waitForBackground(ctx context.Context) {
	own := calledFromHandler()
	joined := make(chan struct{})
	go func() {
		defer close(joined)
		c.life.tasks.Wait()
		if !own {
			<-c.handlers.running.allReturned()
		}
	}()
	patience, cancel := context.WithTimeout(ctx, c.config.CloseTimeout)
	defer cancel()
	select {
	case <-joined:
		return
	case <-patience.Done():
	}
	moment := time.NewTimer(100 * time.Millisecond)
	defer moment.Stop()
	select {
	case <-joined:
	case <-moment.C:
	}
}
