package main

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"time"
)

const (
	logPatience = 250 * time.Millisecond // how long a line waits to be written
	logQueue    = 1 << 20                // bytes that wait at most; later lines are lost
)

// logWriter writes lines to a place that may not answer: a file on a disk that hangs, or a pipe whose reader waits for one. No
// writer waits for it for long: a node that stops because of its disk says so first. As long as the place answers, a line is
// written when Write returns, so that a process that is killed has lost none.
type logWriter struct {
	out io.Writer

	mu      sync.Mutex
	waiting [][]byte
	bytes   int           // of waiting
	lost    int           // lines since the last one that was taken
	late    bool          // the place has not answered for logPatience
	written chan struct{} // closed and replaced once everything that waited is written
	writing bool          // a goroutine writes
}

func newLogWriter(out io.Writer) *logWriter {
	return &logWriter{out: out, written: make(chan struct{})}
}

func (w *logWriter) Write(line []byte) (int, error) {
	w.mu.Lock()
	if w.bytes+len(line) > logQueue {
		w.lost++
		w.mu.Unlock()
		return len(line), nil
	}
	if w.lost > 0 {
		w.add(fmt.Appendf(nil, "%d lines are lost here: the place that takes the log did not answer\n", w.lost))
		w.lost = 0
	}
	w.add(bytes.Clone(line))
	if !w.writing {
		w.writing = true
		go w.writeWaiting()
	}
	written, late := w.written, w.late
	w.mu.Unlock()
	if late {
		return len(line), nil
	}
	patience := time.NewTimer(logPatience)
	defer patience.Stop()
	select {
	case <-written:
	case <-patience.C:
		w.mu.Lock()
		w.late = w.late || written == w.written
		w.mu.Unlock()
	}
	return len(line), nil
}

func (w *logWriter) add(line []byte) {
	w.waiting = append(w.waiting, line)
	w.bytes += len(line)
}

// writeWaiting writes until nothing waits.
func (w *logWriter) writeWaiting() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.waiting) > 0 {
		lines := w.waiting
		w.waiting = nil
		w.mu.Unlock()
		size := 0
		for _, line := range lines {
			_, _ = w.out.Write(line) // there is no other place to report to
			size += len(line)
		}
		w.mu.Lock()
		w.bytes -= size
		w.late = false
	}
	w.writing = false
	close(w.written)
	w.written = make(chan struct{})
}
