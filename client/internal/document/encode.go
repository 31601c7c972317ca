package document

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"unicode/utf8"
)

// Marshal is json.Marshal without the escapes for HTML, and without silence: a string that is not UTF-8 is an error and
// not replaced, and errors say where in the document what cannot be encoded would be, as in $.stats.speed.
func Marshal(value any) ([]byte, error) {
	data, err := marshal(value)
	if err != nil {
		return nil, whyNot(value, err)
	}
	if suspicious(data) {
		if err := notText(value); err != nil {
			return nil, err
		}
		if !utf8.Valid(data) {
			return nil, errors.New("$: the JSON that a MarshalJSON or a json.RawMessage gives is not UTF-8")
		}
	}
	return data, nil
}

// Unmarshal is json.Unmarshal with exact numbers: in a value of type any they are json.Number.
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

func marshal(value any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// suspicious says whether encoding/json may have replaced something that is not UTF-8 (it writes the escape), or let it
// through in what a MarshalJSON gave it.
func suspicious(data []byte) bool {
	return bytes.Contains(data, []byte(`\ufffd`)) || bytes.Contains(data, []byte("\uFFFD")) || !utf8.Valid(data)
}
