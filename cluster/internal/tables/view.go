package tables

import (
	"fmt"
	"sync"

	"github.com/profilenode/profilenode/fsm"
)

// View is a consistent read snapshot of the tables at one index. Applies and installs go on while it is open. It must be
// closed: until then its tables stay on disk, even if an install has replaced them.
type View struct {
	*fsm.View
	release   func()
	closeOnce sync.Once
	closeErr  error
}

// Close ends the view. Further calls do nothing and return the same error.
func (v *View) Close() error {
	v.closeOnce.Do(func() {
		v.closeErr = v.View.Close()
		v.release()
	})
	return v.closeErr
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
	return &View{View: v, release: func() { t.releaseGeneration(g) }}, nil
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
