package tables

import (
	"fmt"
	"sync"
	"time"

	"github.com/profilenode/profilenode/fsm"
)

// View is a consistent read snapshot of the tables at one index. Applies and installs go on while it is open. It must be
// closed: until then its tables stay on disk, even if an install has replaced them.
type View struct {
	*fsm.View
	release   func()
	closeOnce sync.Once
	closed    chan struct{} // closed when nothing of the view is left
	closeErr  error         // written before closed is closed
}

// closePatience is how long the end of a view waits for Pebble.
const closePatience = 50 * time.Millisecond

// Close ends the view. Further calls do nothing and return the same error.
//
// The end of a snapshot may schedule a compaction, for which Pebble waits for the write of its manifest that is under way. On a
// disk that hangs that write does not return, and all that reads would hang with it: the status, probes, refusals that name
// the leader. So after closePatience the rest is done without the caller, and its error is lost.
func (v *View) Close() error {
	v.closeOnce.Do(func() {
		go func() {
			v.closeErr = v.View.Close()
			v.release()
			close(v.closed)
		}()
		patience := time.NewTimer(closePatience)
		defer patience.Stop()
		select {
		case <-v.closed:
		case <-patience.C:
		}
	})
	select {
	case <-v.closed:
		return v.closeErr
	default:
		return nil
	}
}

// OpenView opens a view of the tables as they are now. It returns ErrClosed if the tables are closing.
func (t *Store) OpenView() (*View, error) {
	g, err := t.acquireGeneration()
	if err != nil {
		return nil, err
	}
	v, err := g.machine.View()
	if err != nil {
		t.releaseGeneration(g)
		return nil, fmt.Errorf("open view: %w", err)
	}
	return t.newView(g, v), nil
}

// newView returns a view of g, which has one user for it.
func (t *Store) newView(g *generation, v *fsm.View) *View {
	return &View{View: v, release: func() { t.releaseGeneration(g) }, closed: make(chan struct{})}
}

// handOverRange hands over a range of rows of g, during an apply to it.
func (t *Store) handOverRange(g *generation, r fsm.ComparedRange) {
	t.mu.Lock()
	g.users++
	t.mu.Unlock()
	view := t.newView(g, r.View)
	if t.OnCompare == nil {
		_ = view.Close() // nothing was read from it
		return
	}
	t.OnCompare(r.From, r.To, view)
}

// ReadAlarms returns the rows of all alarms.
func (t *Store) ReadAlarms() ([]fsm.Alarm, error) {
	view, err := t.OpenView()
	if err != nil {
		return nil, err
	}
	defer view.Close()
	return view.Alarms()
}

// ReadNodes returns the rows of all nodes.
func (t *Store) ReadNodes() ([]fsm.Node, error) {
	view, err := t.OpenView()
	if err != nil {
		return nil, err
	}
	defer view.Close()
	return view.Nodes()
}
