package tables

import (
	"fmt"
	"sync"

	"github.com/profilenode/profilenode/fsm"
)

// View is what the tables held at one index. It is consistent, and holds up nothing: applies go on beside it. It must be
// closed; what an install replaced stays on disk until then.
type View struct {
	*fsm.View
	release   func()
	closeOnce sync.Once
	closeErr  error
}

// Close ends the view. Further calls do nothing and return the same.
func (v *View) Close() error {
	v.closeOnce.Do(func() {
		v.closeErr = v.View.Close()
		v.release()
	})
	return v.closeErr
}

// OpenView opens a view of what is applied now.
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

// ReadAlarms are the rows of the alarms that are kept.
func (t *Store) ReadAlarms() ([]fsm.Alarm, error) {
	view, err := t.OpenView()
	if err != nil {
		return nil, err
	}
	defer view.Close()
	return view.Alarms()
}

// ReadNodes are the rows of the nodes as they are now.
func (t *Store) ReadNodes() ([]fsm.Node, error) {
	view, err := t.OpenView()
	if err != nil {
		return nil, err
	}
	defer view.Close()
	return view.Nodes()
}
