package history

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"
)

// Header is the first line of a history.
type Header struct {
	Seed        int64             `json:"seed"`
	Commit      string            `json:"commit"`
	Environment string            `json:"environment"`
	Scenario    string            `json:"scenario"`
	Started     time.Time         `json:"started"`
	Settings    map[string]string `json:"settings,omitempty"`

	// Autosave says that sessions also save by themselves: there are revisions that no operation names, and a save is answered
	// with the revision that its session knew then, which may hold later changes of that session.
	Autosave bool `json:"autosave,omitempty"`
	// Coins is the sum of Doc.Coins over all profiles and of the coins of waiting messages (CoinsOf), which no operation changes;
	// nil: the run moves none. A transfer records its send before the sender's profile is saved without the coins.
	Coins *int64 `json:"coins,omitempty"`
}

// Writer appends events to a history. It may be used by many goroutines.
type Writer struct {
	began time.Time

	mu  sync.Mutex
	w   io.Writer
	err error // of the first write that failed: what follows a torn line could not be read
}

// NewWriter writes the header. Its Started is when the times of events begin; zero: now. The writer needs one Write of w an event
// and buffers nothing, so what is written to a file outlives a crash of this process.
func NewWriter(w io.Writer, h Header) (*Writer, error) {
	if h.Started.IsZero() {
		h.Started = time.Now()
	}
	hw := &Writer{w: w, began: h.Started}
	hw.mu.Lock()
	defer hw.mu.Unlock()
	return hw, hw.writeLine(h)
}

// Now is the time since the run began, as events state it.
func (w *Writer) Now() time.Duration { return time.Since(w.began) }

// Write appends one event before it returns. An event without a Time gets the present one, and such events stand in the file in
// the order of their times. A document's Bulk is left out.
func (w *Writer) Write(e Event) error {
	if e.Doc != nil && e.Doc.Bulk != "" {
		d := *e.Doc
		d.Bulk = ""
		e.Doc = &d
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if e.Time == 0 {
		e.Time = w.Now()
	}
	return w.writeLine(e)
}

// writeLine writes v as one line. w.mu is held.
func (w *Writer) writeLine(v any) error {
	if w.err != nil {
		return w.err
	}
	line, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode an event: %w", err)
	}
	if _, err = w.w.Write(append(line, '\n')); err != nil {
		w.err = fmt.Errorf("write the history: %w", err)
	}
	return w.err
}
