package client

import (
	"fmt"
	"reflect"
)

// mold makes values of T from stored data and a template.
type mold[T any] struct {
	codec    Codec
	template []byte // encoded, so that no two profiles share a map
}

func newMold[T any](codec Codec, template *T) (mold[T], error) {
	data, err := codec.Encode(template)
	if err != nil {
		return mold[T]{}, fmt.Errorf("encode the template: %w", err)
	}
	return mold[T]{codec: codec, template: data}, nil
}

// fresh is a deep copy of the template.
func (m mold[T]) fresh() (T, error) {
	var value T
	err := m.codec.Decode(m.template, &value)
	return value, err
}

// cast decodes stored data and fills in from the template what the data does not have. What the game's structs name is
// filled in; a map or slice that the data has belongs to the data whole, or an item that a player lost would come back
// with the next load. Of a T that is itself a map the keys are filled in, as in ProfileStore.
func (m mold[T]) cast(data []byte) (T, error) {
	var stored T
	if err := m.codec.Decode(data, &stored); err != nil {
		return stored, fmt.Errorf("decode the data: %w", err)
	}
	if rawCodec(m.codec) {
		return stored, nil
	}
	merged, err := m.fresh()
	if err != nil {
		return merged, err
	}
	if root := reflect.ValueOf(&merged).Elem(); root.Kind() == reflect.Map || root.Kind() == reflect.Interface {
		filled := fillKeys(root, reflect.ValueOf(&stored).Elem())
		if filled.IsValid() {
			root.Set(filled)
		}
		return merged, nil
	}
	if err := m.codec.Decode(data, &merged); err != nil {
		return merged, fmt.Errorf("decode the data over the template: %w", err)
	}
	settleFields(reflect.ValueOf(&merged).Elem(), reflect.ValueOf(&stored).Elem())
	return merged, nil
}

// settleFields makes right what decoding over a template leaves behind: entries of the template's maps among the
// data's, and fields of the template's slice elements in the data's. merged was decoded over the template, stored
// over nothing.
func settleFields(merged, stored reflect.Value) {
	switch merged.Kind() {
	case reflect.Map, reflect.Slice, reflect.Interface:
		if !stored.IsNil() {
			merged.Set(stored)
		}
	case reflect.Pointer:
		if !merged.IsNil() && !stored.IsNil() {
			settleFields(merged.Elem(), stored.Elem())
		}
	case reflect.Struct:
		for i := range merged.NumField() {
			if merged.Type().Field(i).IsExported() {
				settleFields(merged.Field(i), stored.Field(i))
			}
		}
	}
}

// fillKeys is stored with what only the template has, for string keys, recursively.
func fillKeys(template, stored reflect.Value) reflect.Value {
	if stored.Kind() == reflect.Interface || template.Kind() == reflect.Interface {
		inner := fillKeys(open(template), open(stored))
		if !inner.IsValid() {
			return stored
		}
		return inner
	}
	if !stored.IsValid() || !template.IsValid() || stored.Kind() != reflect.Map || template.Kind() != reflect.Map ||
		stored.Type() != template.Type() || stored.Type().Key().Kind() != reflect.String || stored.IsNil() {
		return stored
	}
	for _, key := range template.MapKeys() {
		have := stored.MapIndex(key)
		if !have.IsValid() {
			stored.SetMapIndex(key, template.MapIndex(key))
			continue
		}
		if filled := fillKeys(template.MapIndex(key), have); filled.IsValid() {
			stored.SetMapIndex(key, filled)
		}
	}
	return stored
}

func open(v reflect.Value) reflect.Value {
	for v.IsValid() && v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	return v
}

func rawCodec(c Codec) bool {
	switch c.(type) {
	case Raw, rawJSON:
		return true
	}
	return false
}
