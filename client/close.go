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

// endsAtOnce is how many last saves Close has on their way at once.
const endsAtOnce = 64

// CloseError says what Close could not bring to a good end.
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
			parts = append(parts, fmt.Sprintf("%s: %s", p.what, list(p.refs)))
		}
	}
	return fmt.Sprintf("close: %s: %v", strings.Join(parts, "; "), e.Cause)
}

func (e *CloseError) Unwrap() error { return e.Cause }

func list(refs []Ref) string {
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
	return c.close(ctx)
}

// Shutdown ends every session with a last save, says goodbye, so that no other game server waits for a lease, and returns
// when nothing of this client runs any more but handlers of the game that do not return. ctx bounds it all; what was not
// done by then is left, and said. A context that has ended before the call, as that of a signal has, counts as none: then
// Config.CloseTimeout is the bound.
//
// *CloseError: some data is not stored, or may not be. ErrClosed: it was closed before.
func (c *Client) Shutdown(ctx context.Context) error {
	if ctx.Err() != nil {
		return c.Close()
	}
	return c.close(ctx)
}

func (c *Client) close(ctx context.Context) error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return &Error{Act: "close", Kind: ErrClosed}
	}
	c.closed = true
	c.mu.Unlock()
	c.shut()

	left := c.endAll(ctx)
	c.waitForPanics(ctx)
	close(c.parting)
	c.mu.Lock()
	l := c.life
	c.mu.Unlock()
	if l != nil {
		// After a lease of silence the goodbye says nothing new.
		brief, cancel := context.WithTimeout(ctx, l.timing.Lease)
		defer cancel()
		err := c.do(brief, &change{
			act: "close", life: l, method: profilev1.Profiles_EndServer_FullMethodName,
			request: &profilev1.EndServerRequest{}, answer: &profilev1.EndServerResponse{},
		})
		if err != nil && !errors.Is(err, ErrSessionOver) {
			c.config.Log.Warn("say goodbye: the cluster will wait for a lease", "error", err)
		}
	}
	for _, s := range c.all() {
		s.finish(endError(s.ref, EndShutDown, nil, ErrClosed))
		s.leave()
	}
	c.halt()
	c.join(ctx)
	c.nodes.close()
	c.ping.close()
	if len(left.Unsaved)+len(left.Unknown) > 0 {
		return left
	}
	return nil
}

// endAll makes the last saves.
func (c *Client) endAll(ctx context.Context) *CloseError {
	var mu sync.Mutex
	left := &CloseError{}
	var ends sync.WaitGroup
	sessions := make(chan *session)
	for range endsAtOnce {
		ends.Go(func() {
			for s := range sessions {
				err := s.end(ctx, LastSaveShutdown)
				if err == nil {
					continue
				}
				mu.Lock()
				if left.add(s) && left.Cause == nil {
					left.Cause = err
				}
				mu.Unlock()
			}
		})
	}
	for _, s := range c.all() {
		if !closedNow(s.done) {
			sessions <- s
		}
	}
	close(sessions)
	ends.Wait()
	for _, refs := range [][]Ref{left.Unsaved, left.Unknown} {
		slices.SortFunc(refs, func(a, b Ref) int { return strings.Compare(a.String(), b.String()) })
	}
	return left
}

// add lists a session that has data which is not known to be stored.
func (e *CloseError) add(s *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	changes := s.changes.Load()
	switch {
	case !s.begun || s.stored.known && s.stored.changes == changes:
		return false
	case (s.current != nil || s.unclear) && s.flying == changes:
		e.Unknown = append(e.Unknown, s.ref)
	default:
		e.Unsaved = append(e.Unsaved, s.ref)
	}
	return true
}

func (c *Client) all() []*session {
	c.mu.Lock()
	defer c.mu.Unlock()
	sessions := make([]*session, 0, len(c.sessions))
	for _, s := range c.sessions {
		sessions = append(sessions, s)
	}
	return sessions
}

// join waits for every goroutine. All but the game's own handlers end by themselves once the client has halted; these
// get until ctx ends, and a moment. Called from a handler it does not wait for the handlers that are on their own: it
// would wait for itself.
func (c *Client) join(ctx context.Context) {
	own := calledFromHandler()
	joined := make(chan struct{})
	go func() {
		defer close(joined)
		c.tasks.Wait()
		if !own {
			<-c.handling.none()
		}
	}()
	select {
	case <-joined:
		return
	case <-ctx.Done():
	}
	moment := time.NewTimer(100 * time.Millisecond)
	defer moment.Stop()
	select {
	case <-joined:
	case <-moment.C:
	}
}
