package game

import (
	"encoding/json"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/profilenode/profilenode/bench/measure"
	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/scripts/jepsen/internal/history"
)

// recorder writes events, each on a line, before what they tell of is done.
type recorder struct {
	began measure.Moment

	mu  sync.Mutex
	out *json.Encoder
	op  uint64
	err error
}

func newRecorder(out io.Writer, began int64) *recorder {
	return &recorder{began: measure.Moment(began), out: json.NewEncoder(out)}
}

func (r *recorder) now() time.Duration { return measure.Now().Since(r.began) }

// record writes an event. An event without a time gets this one.
func (r *recorder) record(e history.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.Time == 0 {
		e.Time = r.now()
	}
	if err := r.out.Encode(e); err != nil && r.err == nil {
		r.err = err
	}
}

// begin writes the invocation of an operation, and returns its number.
func (r *recorder) begin(e history.Event) uint64 {
	r.mu.Lock()
	r.op++
	e.Op, e.Type = r.op, history.Invoke
	r.mu.Unlock()
	r.record(e)
	return e.Op
}

// complete writes the completion of an operation: begun as e, which now has its results.
func (r *recorder) complete(op uint64, e history.Event, err error) {
	e.Op, e.Type, e.Time = op, outcomeOf(err), 0
	if err != nil {
		e.Error = err.Error()
	}
	r.record(e)
}

func (r *recorder) failure() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// outcomeOf says what an error of the client means for the operation.
func outcomeOf(err error) history.Type {
	switch {
	case err == nil:
		return history.OK
	case errors.Is(err, client.ErrUnknown):
		return history.Info
	}
	return history.Fail // every other error of the client says that it did not happen
}

// copyDoc is a copy that no later change of the original reaches.
func copyDoc(d *history.Doc) *history.Doc {
	c := *d
	c.Applied = append([]string(nil), d.Applied...)
	c.List = append([]int(nil), d.List...)
	c.Bulk = ""
	return &c
}
