package document

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
)

// foreignIn finds a value that is read back as something else although its JSON is the same: what is in an interface and
// is none of what JSON gives back. Numbers may be of any type of Go's own; they are read back as json.Number.
func (s *shape) foreignIn(v reflect.Value, at path) error {
	if !s.interfaces {
		return nil
	}
	switch s.kind {
	case loose:
		if !v.IsNil() {
			return foreignAny(v.Interface(), at)
		}
	case closed:
		if !v.IsNil() {
			return fmt.Errorf("%s: a %s in a field of type %s cannot be read back: JSON does not say which type it was",
				at, v.Elem().Type(), s.typ)
		}
	case pointer:
		if !v.IsNil() {
			return s.elem.foreignIn(v.Elem(), at)
		}
	case object:
		for i := range s.fields {
			f := &s.fields[i]
			if inner := f.in(v); f.shape.interfaces && inner.IsValid() {
				if err := f.shape.foreignIn(inner, at.key(f.name)); err != nil {
					return err
				}
			}
		}
	case dict:
		if m, ok := v.Interface().(map[string]any); ok {
			return foreignAny(m, at)
		}
		for each := v.MapRange(); each.Next(); {
			if err := s.elem.foreignIn(each.Value(), at.key(fmt.Sprint(each.Key()))); err != nil {
				return err
			}
		}
	case list, tuple:
		for i := range v.Len() {
			if err := s.elem.foreignIn(v.Index(i), at.index(i)); err != nil {
				return err
			}
		}
	}
	return nil
}

func foreignAny(value any, at path) error {
	switch v := value.(type) {
	case nil, bool, string, json.Number, int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64, uintptr, float32, float64:
		return nil
	case map[string]any:
		for key, inner := range v {
			if !plain(inner) {
				if err := foreignAny(inner, at.key(key)); err != nil {
					return err
				}
			}
		}
		return nil
	case []any:
		for i, inner := range v {
			if !plain(inner) {
				if err := foreignAny(inner, at.index(i)); err != nil {
					return err
				}
			}
		}
		return nil
	}
	return fmt.Errorf("%s: a %T in a value of type any would be read back as something else: it may hold what JSON gives back, "+
		"which is nil, bool, string, numbers, map[string]any and []any", at, value)
}

// plain saves making a path for what is most of the values.
func plain(value any) bool {
	switch value.(type) {
	case nil, bool, string, json.Number, int, float64:
		return true
	}
	return false
}

// differ finds where two documents of one type say different things. A map that is null, missing or empty is the same.
func (s *shape) differ(at path, wrote, read []byte) error {
	if bytes.Equal(wrote, read) {
		return nil
	}
	inner := s
	for inner.kind == pointer && !isNull(wrote) && !isNull(read) && wrote != nil && read != nil {
		inner = inner.elem
	}
	switch {
	case inner.kind == dict && noKeys(wrote) && noKeys(read):
		return nil
	case isObject(wrote) && isObject(read) && (inner.kind == object || inner.kind == dict):
		was, is := members(wrote), members(read)
		after := byKey(is)
		for _, w := range was {
			if err := inner.below(w.key).differ(at.key(w.key), w.raw, after[w.key]); err != nil {
				return err
			}
		}
		before := byKey(was)
		for _, i := range is {
			if before[i.key] == nil {
				if err := inner.below(i.key).differ(at.key(i.key), nil, i.raw); err != nil {
					return err
				}
			}
		}
		return nil
	case isArray(wrote) && isArray(read) && (inner.kind == list || inner.kind == tuple):
		was, is := elements(wrote), elements(read)
		for i := range min(len(was), len(is)) {
			if err := inner.elem.differ(at.index(i), was[i], is[i]); err != nil {
				return err
			}
		}
		if len(was) == len(is) {
			return nil
		}
	}
	return fmt.Errorf("%s: a %s is written as %s, and would be read back as %s", at, s.typ, quote(wrote), quote(read))
}

func noKeys(raw []byte) bool { return raw == nil || isNull(raw) || string(raw) == "{}" }

// below is the shape of what is at a key.
func (s *shape) below(key string) *shape {
	if s.kind == object {
		if f := s.field(key); f >= 0 {
			return s.fields[f].shape
		}
	}
	if s.elem != nil {
		return s.elem
	}
	return &shape{kind: opaque, typ: s.typ}
}

func quote(raw []byte) string {
	const most = 80
	switch {
	case raw == nil:
		return "nothing"
	case len(raw) > most:
		return string(bytes.ToValidUTF8(raw[:most], nil)) + "..."
	}
	return string(raw)
}

// makeMaps makes the nil maps in what was read, so that a game can write to each.
func (s *shape) makeMaps(v reflect.Value) {
	if !s.maps {
		return
	}
	switch s.kind {
	case pointer:
		if !v.IsNil() {
			s.elem.makeMaps(v.Elem())
		}
	case object:
		for i := range s.fields {
			if f := &s.fields[i]; f.shape.maps {
				if inner := f.in(v); inner.IsValid() {
					f.shape.makeMaps(inner)
				}
			}
		}
	case dict:
		if v.IsNil() {
			v.Set(reflect.MakeMap(s.typ))
		}
		if s.elem.maps {
			for _, key := range v.MapKeys() {
				entry := reflect.New(s.typ.Elem()).Elem() // what is in a map cannot be written to
				entry.Set(v.MapIndex(key))
				s.elem.makeMaps(entry)
				v.SetMapIndex(key, entry)
			}
		}
	case list, tuple:
		for i := range v.Len() {
			s.elem.makeMaps(v.Index(i))
		}
	}
}

// unreadable adds to an error of decoding where in the document it comes from: from the innermost part that cannot be
// decoded alone.
func (s *shape) unreadable(raw []byte, at path, err error) error {
	where, inner := s.obstacle(raw, at, err, deepest)
	return fmt.Errorf("%s: %w", where, inner)
}

func (s *shape) obstacle(raw []byte, at path, err error, deeper int) (path, error) {
	raw = trim(raw)
	try := func(below *shape, raw []byte, at path) (path, error) {
		worse := Unmarshal(raw, reflect.New(below.typ).Interface())
		if worse == nil {
			return at, nil
		}
		return below.obstacle(raw, at, worse, deeper-1)
	}
	switch {
	case deeper == 0:
	case s.kind == pointer && !isNull(raw):
		return s.elem.obstacle(raw, at, err, deeper)
	case (s.kind == object || s.kind == dict) && isObject(raw):
		for _, m := range members(raw) {
			if f := s.field(m.key); s.kind == object && (f < 0 || s.fields[f].quoted) {
				continue
			}
			if where, worse := try(s.below(m.key), m.raw, at.key(m.key)); worse != nil {
				return where, worse
			}
		}
	case (s.kind == list || s.kind == tuple) && isArray(raw):
		for i, e := range elements(raw) {
			if where, worse := try(s.elem, e, at.index(i)); worse != nil {
				return where, worse
			}
		}
	}
	return at, err
}
