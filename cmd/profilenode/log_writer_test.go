package main

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A line is written when Write returns, and a place that does not answer holds up one line for a moment, and no other.
func TestALogThatDoesNotAnswerHoldsUpNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &slowWriter{answers: make(chan struct{})}
		w := newLogWriter(out)
		began := time.Now()
		for i := range 100 {
			fmt.Fprintf(w, "line %d\n", i)
		}
		if took := time.Since(began); took != logPatience {
			t.Errorf("100 lines took %v while the place did not answer, want %v", took, logPatience)
		}
		long := strings.Repeat("x", logQueue/4)
		for range 8 {
			fmt.Fprintln(w, long)
		}
		close(out.answers)
		synctest.Wait()
		fmt.Fprintln(w, "the last line")
		text := out.text.String()
		for _, want := range []string{"line 0\nline 1\n", "line 98\nline 99\n", "5 lines are lost here", "here: the place that takes the log did not answer\nthe last line\n"} {
			if !strings.Contains(text, want) {
				t.Errorf("the log lacks %q", want)
			}
		}
		if time.Since(began) != logPatience {
			t.Error("a line waited after the place had answered")
		}
	})
}

// slowWriter answers once answers is closed.
type slowWriter struct {
	answers chan struct{}
	text    strings.Builder
}

func (w *slowWriter) Write(p []byte) (int, error) {
	<-w.answers
	return w.text.Write(p)
}
