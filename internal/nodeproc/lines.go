package nodeproc

import "bytes"

// LineWriter hands on whole lines.
type LineWriter struct {
	Handle func(line string)
	rest   []byte
}

// maxLine bounds a line, in bytes; longer ones are handed on in pieces.
const maxLine = 64 << 10

func (w *LineWriter) Write(p []byte) (int, error) {
	w.rest = append(w.rest, p...)
	for {
		line, rest, whole := bytes.Cut(w.rest, []byte("\n"))
		if !whole && len(line) < maxLine {
			return len(p), nil
		}
		w.Handle(string(line))
		w.rest = append(w.rest[:0], rest...)
	}
}
