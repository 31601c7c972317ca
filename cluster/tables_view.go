package cluster

import (
	"fmt"
	"sync"

	"github.com/profilenode/profilenode/fsm"
)

// View is what the tables held at one index. It is consistent, and holds up nothing: applies go on beside it. It must be
// closed; what an install replaced stays on disk until then.
type View struct {
	*fsm.View
	release func()
	once    sync.Once
	err     error
}

// Close ends the view. Further calls do nothing and return the same.
func (v *View) Close() error {
	v.once.Do(func() {
		v.err = v.View.Close()
		v.release()
	})
	return v.err
}

// view opens a view of what is applied now.
func (t *tables) view() (*View, error) {
	g, err := t.acquire()
	if err != nil {
		return nil, err
	}
	v, err := g.machine.View()
	if err != nil {
		t.release(g)
		return nil, fmt.Errorf("open view: %w", err)
	}
	return &View{View: v, release: func() { t.release(g) }}, nil
}

// alarms are the rows of the alarms that are kept.
func (t *tables) alarms() ([]fsm.Alarm, error) {
	view, err := t.view()
	if err != nil {
		return nil, err
	}
	defer view.Close()
	return view.Alarms()
}

// nodes are the rows of the nodes as they are now.
func (t *tables) nodes() ([]fsm.Node, error) {
	view, err := t.view()
	if err != nil {
		return nil, err
	}
	defer view.Close()
	return view.Nodes()
}
