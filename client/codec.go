package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/profilenode/profilenode/client/internal/document"
)

// Codec turns a game's data into bytes and back. The store never looks inside.
//
// Encode gets a pointer to the value and must give the same bytes for the same value: by these bytes a change is noticed.
// Decode gets a pointer to a value to fill. Neither keeps a reference to its argument. ID is stored with the data, so that
// data of another codec is refused and not misread; 0 is raw bytes, 1 is JSON, games choose from 16.
type Codec interface {
	ID() uint8
	Encode(value any) ([]byte, error)
	Decode(data []byte, value any) error
}

var (
	_ Codec = JSON{}
	_ Codec = Raw{}
)

// JSON is the default codec: encoding/json. Numbers in fields of type any are json.Number, so that none loses a digit.
type JSON struct{}

// ID is 1.
func (JSON) ID() uint8 { return 1 }

// Encode is json.Marshal without the escapes for HTML. A string that is not UTF-8 is an error, and not replaced; errors name
// the path of the value that cannot be encoded.
func (JSON) Encode(value any) ([]byte, error) { return document.Marshal(value) }

// Decode is json.Unmarshal with exact numbers.
func (JSON) Decode(data []byte, value any) error { return document.Unmarshal(data, value) }

// Raw passes bytes through unchanged. It is chosen for a Store of []byte.
type Raw struct{}

// ID is 0.
func (Raw) ID() uint8 { return 0 }

// Encode copies the bytes.
func (Raw) Encode(value any) ([]byte, error) {
	switch v := value.(type) {
	case *[]byte:
		return slices.Clone(*v), nil
	case *json.RawMessage:
		return slices.Clone(*v), nil
	}
	return nil, fmt.Errorf("the raw codec takes []byte, not %T", value)
}

// Decode copies the bytes.
func (Raw) Decode(data []byte, value any) error {
	switch v := value.(type) {
	case *[]byte:
		*v = slices.Clone(data)
	case *json.RawMessage:
		*v = slices.Clone(data)
	default:
		return fmt.Errorf("the raw codec takes []byte, not %T", value)
	}
	return nil
}

// rawJSON passes JSON through unchanged; no JSON at all is null. It is chosen for a Store of json.RawMessage, and stores
// of JSON and of json.RawMessage read each other's data.
type rawJSON struct{ Raw }

func (rawJSON) ID() uint8 { return 1 }

func (r rawJSON) Encode(value any) ([]byte, error) {
	data, err := r.Raw.Encode(value)
	if err == nil && len(data) == 0 {
		return []byte("null"), nil
	}
	if err == nil && !json.Valid(data) {
		err = errors.New("the data is not JSON")
	}
	return data, err
}

// codecFor is the codec for a T of which the caller names none.
func codecFor[T any]() Codec {
	switch any((*T)(nil)).(type) {
	case *[]byte:
		return Raw{}
	case *json.RawMessage:
		return rawJSON{}
	}
	return JSON{}
}

// encodeMessage turns a game's message into bytes: []byte and json.RawMessage as they are, all else as JSON.
func encodeMessage(message any) ([]byte, error) {
	switch m := message.(type) {
	case []byte:
		return slices.Clone(m), nil
	case json.RawMessage:
		return slices.Clone(m), nil
	}
	return JSON{}.Encode(message)
}
