package document

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"unicode/utf8"
)

// Marshal is json.Marshal without the escapes for HTML, and stricter: a string that is not UTF-8 is an error instead of
// being replaced, and an error names the path of the value that cannot be encoded, such as $.stats.speed.
func Marshal(value any) ([]byte, error) {
	data, err := marshalUnchecked(value)
	if err != nil {
		return nil, locateEncodeError(value, err)
	}
	if mayHideInvalidUTF8(data) {
		if err := findInvalidUTF8(value); err != nil {
			return nil, err
		}
		if !utf8.Valid(data) {
			return nil, errors.New("$: the JSON that a MarshalJSON or a json.RawMessage gives is not UTF-8")
		}
	}
	return data, nil
}

// Unmarshal is json.Unmarshal with exact numbers: in a value of type any they become json.Number.
func Unmarshal(data []byte, value any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(value); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more follows the JSON value")
	}
	return nil
}

func marshalUnchecked(value any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// mayHideInvalidUTF8 reports whether encoding/json may have replaced a string that is not UTF-8 (it writes the escape of
// U+FFFD), or copied one from the output of a MarshalJSON. It has false positives: a text may hold U+FFFD itself.
func mayHideInvalidUTF8(data []byte) bool {
	return bytes.Contains(data, []byte(`\ufffd`)) || bytes.Contains(data, []byte("\uFFFD")) || !utf8.Valid(data)
}
