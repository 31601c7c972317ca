package client

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/client/internal/document"
)

// profileTemplate makes values of T from stored data and a template, and data from values.
type profileTemplate[T any] struct {
	codec    Codec
	form     *document.Form[T] // of JSON; nil for codecs other than JSON
	template []byte            // encoded, so that no two profiles share a map; not with a form
	copy     func(T) T         // of WithCopy; nil if there is none
}

func newProfileTemplate[T any](o storeOptions, template *T) (profileTemplate[T], error) {
	m := profileTemplate[T]{codec: o.codec}
	if o.copy != nil {
		var ok bool
		if m.copy, ok = o.copy.(func(T) T); !ok {
			return m, fmt.Errorf("WithCopy got a %T, this store needs a func(T) T with a T of %T", o.copy, *template)
		}
	}
	var err error
	switch o.codec.(type) {
	case JSON, *JSON:
		m.form, err = document.New(template)
		return m, err
	}
	if m.template, err = o.codec.Encode(template); err != nil {
		return m, fmt.Errorf("the template cannot be encoded: %w", err)
	}
	if _, err = m.freshValue(); err != nil {
		return m, fmt.Errorf("the template cannot be read back: %w", err)
	}
	return m, nil
}

// freshValue is a deep copy of the template.
func (m profileTemplate[T]) freshValue() (value T, err error) {
	if m.form != nil {
		return m.form.Fresh()
	}
	err = m.codec.Decode(m.template, &value)
	return value, err
}

// checkCodec refuses data that another codec wrote.
func (m profileTemplate[T]) checkCodec(stored *profilev1.Profile) error {
	if id := uint32(m.codec.ID()); stored.Codec != id {
		return fmt.Errorf("it was stored by codec %d, this store has codec %d", stored.Codec, id)
	}
	return nil
}

// decodeSnapshot is the value of stored data. Fields that are missing in JSON are filled in from the template.
func (m profileTemplate[T]) decodeSnapshot(data []byte) (value T, err error) {
	if m.form != nil {
		value, err = m.form.Read(data)
	} else {
		err = m.codec.Decode(data, &value)
	}
	if err != nil {
		err = fmt.Errorf("the stored data cannot be decoded: %w", err)
	}
	return value, err
}

// encodeValue encodes a value that has no stored document beside it.
func (m profileTemplate[T]) encodeValue(value *T) ([]byte, error) {
	if m.form != nil {
		return m.form.Write(value)
	}
	return m.codec.Encode(value)
}

// decodeDocument is the value of stored data for a session, with its document if it has one, and the data as the session
// would save it unchanged.
func (m profileTemplate[T]) decodeDocument(data []byte) (value T, d *document.Document[T], unchanged []byte, err error) {
	if m.form != nil {
		value, d, unchanged, err = m.form.Load(data)
		if err != nil {
			err = fmt.Errorf("the stored data cannot be decoded: %w", err)
		}
		return value, d, unchanged, err
	}
	if value, err = m.decodeSnapshot(data); err == nil {
		unchanged, err = m.codec.Encode(&value)
	}
	return value, nil, unchanged, err
}

// startDocument is the value of a profile that does not exist yet, with its document if it has one.
func (m profileTemplate[T]) startDocument() (value T, d *document.Document[T], err error) {
	if m.form != nil {
		d = m.form.Start()
	}
	value, err = m.freshValue()
	return value, d, err
}

// deepCopy is a copy of a value that shares nothing with it.
func (m profileTemplate[T]) deepCopy(value *T) (copied T, err error) {
	switch v := any(value).(type) {
	case *[]byte:
		return any(slices.Clone(*v)).(T), nil
	case *json.RawMessage:
		return any(slices.Clone(*v)).(T), nil
	}
	switch {
	case m.copy != nil:
		return m.copy(*value), nil
	case m.form != nil:
		return m.form.Copy(value)
	}
	if err = document.CheckCopyable(reflect.TypeFor[T]()); err != nil {
		return copied, err
	}
	data, err := m.codec.Encode(value)
	if err == nil {
		err = m.codec.Decode(data, &copied)
	}
	return copied, err
}
