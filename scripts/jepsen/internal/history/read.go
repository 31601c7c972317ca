package history

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Read reads a history. A last line that was cut, which has no end of line, is left out; anything else that is no event is an
// error.
func Read(r io.Reader) (Header, []Event, error) {
	var (
		header Header
		events []Event
	)
	lines := bufio.NewReaderSize(r, 1<<16)
	for number := 1; ; number++ {
		line, err := lines.ReadBytes('\n')
		cut := errors.Is(err, io.EOF)
		if err != nil && !cut {
			return header, events, fmt.Errorf("line %d: %w", number, err)
		}
		switch {
		case cut && number == 1:
			return header, nil, errors.New("line 1: the header is not whole")
		case cut:
			return header, events, nil
		case number == 1:
			err = decodeLine(line, &header)
		default:
			var e Event
			err = decodeLine(line, &e)
			if err == nil && (e.Type == "" || e.Action == "") {
				err = errors.New("an event without type or action")
			}
			events = append(events, e)
		}
		if err != nil {
			return header, events, fmt.Errorf("line %d: %w", number, err)
		}
	}
}

// decodeLine refuses fields that this build does not know: a checker that overlooked one would find less than there is.
func decodeLine(line []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	return d.Decode(v)
}
