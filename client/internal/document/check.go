package document

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
)

// checkForeign finds a value in an interface that would be read back as another type although its JSON is the same. It
// allows the types that decoding JSON into an any gives, and all of Go's number types, which are read back as json.Number.
func (s *shape) checkForeign(v reflect.Value, at path) error {
	if !s.hasInterfaces {
		return nil
	}
	switch s.kind {
	case anyKind:
		if !v.IsNil() {
			return checkForeignAny(v.Interface(), at)
		}
	case interfaceKind:
		if !v.IsNil() {
			return fmt.Errorf("%s: a %s in a field of type %s cannot be read back: JSON does not say which type it was",
				at, v.Elem().Type(), s.typ)
		}
	case pointerKind:
		if !v.IsNil() {
			return s.elem.checkForeign(v.Elem(), at)
		}
	case structKind:
		for i := range s.fields {
			f := &s.fields[i]
			if inner := f.valueIn(v); f.shape.hasInterfaces && inner.IsValid() {
				if err := f.shape.checkForeign(inner, at.atKey(f.name)); err != nil {
					return err
				}
			}
		}
	case mapKind:
		if m, ok := v.Interface().(map[string]any); ok {
			return checkForeignAny(m, at)
		}
		for each := v.MapRange(); each.Next(); {
			if err := s.elem.checkForeign(each.Value(), at.atKey(fmt.Sprint(each.Key()))); err != nil {
				return err
			}
		}
	case sliceKind, arrayKind:
		for i := range v.Len() {
			if err := s.elem.checkForeign(v.Index(i), at.atIndex(i)); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkForeignAny is checkForeign for a value of type any.
func checkForeignAny(value any, at path) error {
	switch v := value.(type) {
	case nil, bool, string, json.Number, int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64, uintptr, float32, float64:
		return nil
	case map[string]any:
		for key, inner := range v {
			if !isPlainValue(inner) {
				if err := checkForeignAny(inner, at.atKey(key)); err != nil {
					return err
				}
			}
		}
		return nil
	case []any:
		for i, inner := range v {
			if !isPlainValue(inner) {
				if err := checkForeignAny(inner, at.atIndex(i)); err != nil {
					return err
				}
			}
		}
		return nil
	}
	return fmt.Errorf("%s: a %T in a value of type any would be read back as another type: it may hold the types that JSON gives back, "+
		"which are nil, bool, string, numbers, map[string]any and []any", at, value)
}

// isPlainValue recognises the most frequent values without allocating a path for them.
func isPlainValue(value any) bool {
	switch value.(type) {
	case nil, bool, string, json.Number, int, float64:
		return true
	}
	return false
}

// findDifference returns an error that names the first place where two documents of one type differ. A map that is null,
// missing or empty counts as equal, since a load makes all three an empty map.
func (s *shape) findDifference(at path, wrote, read []byte) error {
	if bytes.Equal(wrote, read) {
		return nil
	}
	inner := s
	for inner.kind == pointerKind && !isNull(wrote) && !isNull(read) && wrote != nil && read != nil {
		inner = inner.elem
	}
	switch {
	case inner.kind == mapKind && hasNoKeys(wrote) && hasNoKeys(read):
		return nil
	case isObject(wrote) && isObject(read) && (inner.kind == structKind || inner.kind == mapKind):
		was, is := objectMembers(wrote), objectMembers(read)
		after := valuesByKey(is)
		for _, w := range was {
			if err := inner.shapeAtKey(w.key).findDifference(at.atKey(w.key), w.value, after[w.key]); err != nil {
				return err
			}
		}
		before := valuesByKey(was)
		for _, i := range is {
			if before[i.key] == nil {
				if err := inner.shapeAtKey(i.key).findDifference(at.atKey(i.key), nil, i.value); err != nil {
					return err
				}
			}
		}
		return nil
	case isArray(wrote) && isArray(read) && (inner.kind == sliceKind || inner.kind == arrayKind):
		was, is := arrayElements(wrote), arrayElements(read)
		for i := range min(len(was), len(is)) {
			if err := inner.elem.findDifference(at.atIndex(i), was[i], is[i]); err != nil {
				return err
			}
		}
		if len(was) == len(is) {
			return nil
		}
	}
	return fmt.Errorf("%s: a %s is written as %s, and would be read back as %s", at, s.typ, shortenForError(wrote), shortenForError(read))
}

func hasNoKeys(raw []byte) bool { return raw == nil || isNull(raw) || string(raw) == "{}" }

// shapeAtKey returns the shape of the value at a key of an object or map.
func (s *shape) shapeAtKey(key string) *shape {
	if s.kind == structKind {
		if f := s.fieldIndex(key); f >= 0 {
			return s.fields[f].shape
		}
	}
	if s.elem != nil {
		return s.elem
	}
	return &shape{kind: selfWritingKind, typ: s.typ}
}

func shortenForError(raw []byte) string {
	const most = 80
	switch {
	case raw == nil:
		return "nothing"
	case len(raw) > most:
		return string(bytes.ToValidUTF8(raw[:most], nil)) + "..."
	}
	return string(raw)
}

// makeNilMaps replaces the nil maps of a loaded value by empty ones, so that a game can write to each.
func (s *shape) makeNilMaps(v reflect.Value) {
	if !s.hasMaps {
		return
	}
	switch s.kind {
	case pointerKind:
		if !v.IsNil() {
			s.elem.makeNilMaps(v.Elem())
		}
	case structKind:
		for i := range s.fields {
			if f := &s.fields[i]; f.shape.hasMaps {
				if inner := f.valueIn(v); inner.IsValid() {
					f.shape.makeNilMaps(inner)
				}
			}
		}
	case mapKind:
		if v.IsNil() {
			v.Set(reflect.MakeMap(s.typ))
		}
		if s.elem.hasMaps {
			for _, key := range v.MapKeys() {
				entry := reflect.New(s.typ.Elem()).Elem() // the value in a map is not addressable
				entry.Set(v.MapIndex(key))
				s.elem.makeNilMaps(entry)
				v.SetMapIndex(key, entry)
			}
		}
	case sliceKind, arrayKind:
		for i := range v.Len() {
			s.elem.makeNilMaps(v.Index(i))
		}
	}
}

// locateDecodeError adds to a decoding error the path of its cause: the innermost part of the document that cannot be
// decoded by itself.
func (s *shape) locateDecodeError(raw []byte, at path, err error) error {
	where, inner := s.findDecodeError(raw, at, err, maxSearchDepth)
	return fmt.Errorf("%s: %w", where, inner)
}

func (s *shape) findDecodeError(raw []byte, at path, err error, deeper int) (path, error) {
	raw = trimSpace(raw)
	try := func(below *shape, raw []byte, at path) (path, error) {
		worse := Unmarshal(raw, reflect.New(below.typ).Interface())
		if worse == nil {
			return at, nil
		}
		return below.findDecodeError(raw, at, worse, deeper-1)
	}
	switch {
	case deeper == 0:
	case s.kind == pointerKind && !isNull(raw):
		return s.elem.findDecodeError(raw, at, err, deeper)
	case (s.kind == structKind || s.kind == mapKind) && isObject(raw):
		for _, m := range objectMembers(raw) {
			if f := s.fieldIndex(m.key); s.kind == structKind && (f < 0 || s.fields[f].quoted) {
				continue
			}
			if where, worse := try(s.shapeAtKey(m.key), m.value, at.atKey(m.key)); worse != nil {
				return where, worse
			}
		}
	case (s.kind == sliceKind || s.kind == arrayKind) && isArray(raw):
		for i, e := range arrayElements(raw) {
			if where, worse := try(s.elem, e, at.atIndex(i)); worse != nil {
				return where, worse
			}
		}
	}
	return at, err
}
