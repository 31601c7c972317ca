package document

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"unicode/utf8"
)

// walker goes through a value as encoding/json does, to find the place of what it complains of. It is slow, and runs when
// something is wrong.
type walker struct{ fields map[reflect.Type][]field }

func newWalker() *walker { return &walker{fields: make(map[reflect.Type][]field)} }

// whyNot adds to an error of encoding/json where it comes from: from the innermost part that has an error alone.
func whyNot(value any, err error) error {
	w := newWalker()
	at, inner, ok := w.culprit(reflect.ValueOf(value), path{}, err, 0)
	if !ok {
		at, inner = path{}, err
	}
	return fmt.Errorf("%s: %w", at, inner)
}

// deepest is where the search for a culprit gives up: the value contains itself, or nearly does.
const deepest = 100

func (w *walker) culprit(v reflect.Value, at path, err error, depth int) (path, error, bool) {
	ok := depth < deepest
	if !ok {
		return at, err, false
	}
	w.parts(v, at, func(part reflect.Value, where path) bool {
		_, worse := marshal(whole(part))
		if worse != nil {
			at, err, ok = w.culprit(part, where, worse, depth+1)
		}
		return worse == nil
	}, func(key reflect.Value, where path) bool {
		_, _, worse := keyText(key)
		if worse != nil {
			at, err = where, worse
		}
		return worse == nil
	})
	return at, err, ok
}

// notText finds a string that is not UTF-8, nil if there is none: a text may have the replacement character itself.
func notText(value any) error {
	var found error
	complain := func(where path, text []byte) bool {
		found = fmt.Errorf("%s: the string %q is not UTF-8", where, text)
		return false
	}
	w := newWalker()
	var look func(v reflect.Value, at path) bool
	look = func(v reflect.Value, at path) bool {
		if v = opened(v); !v.IsValid() {
			return true
		}
		switch text, isText, err := textOf(v); {
		case err == nil && isText && !utf8.Valid(text):
			return complain(at, text)
		case isText:
			return true
		}
		return w.parts(v, at, look, func(key reflect.Value, where path) bool {
			text, isText, err := keyText(key)
			return err != nil || !isText || utf8.Valid(text) || complain(where, text)
		})
	}
	look(reflect.ValueOf(value), path{})
	return found
}

// parts gives each part of a value to visit, and each key of a map to key, until one returns false, which it then returns
// itself. It goes one level deep, and not into what writes itself.
func (w *walker) parts(v reflect.Value, at path, visit, key func(reflect.Value, path) bool) bool {
	if v = opened(v); !v.IsValid() || writesItself(v) {
		return true
	}
	switch v.Kind() {
	case reflect.Struct:
		fields, known := w.fields[v.Type()]
		if !known {
			fields = fieldsOf(v.Type())
			w.fields[v.Type()] = fields
		}
		for i := range fields {
			f := &fields[i]
			if part := f.in(v); part.IsValid() && !f.omits(part) && !visit(part, at.key(f.name)) {
				return false
			}
		}
	case reflect.Map:
		for each := v.MapRange(); each.Next(); {
			where := at.key(fmt.Sprint(each.Key()))
			if !key(each.Key(), where) || !visit(each.Value(), where) {
				return false
			}
		}
	case reflect.Slice, reflect.Array:
		if v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8 {
			return true
		}
		for i := range v.Len() {
			if !visit(v.Index(i), at.index(i)) {
				return false
			}
		}
	}
	return true
}

// opened is what pointers and interfaces lead to, as far as it does not write itself; invalid if that is nil.
func opened(v reflect.Value) reflect.Value {
	for v.IsValid() && (v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface) {
		if v.IsNil() {
			return reflect.Value{}
		}
		if writesItself(v) {
			return v
		}
		v = v.Elem()
	}
	return v
}

// whole is a part with the methods that its pointer has, where encoding/json would find them.
func whole(v reflect.Value) any {
	if v.CanAddr() {
		return v.Addr().Interface()
	}
	return v.Interface()
}

func writesItself(v reflect.Value) bool {
	t := v.Type()
	if v.CanAddr() {
		t = reflect.PointerTo(t)
	}
	return t.Implements(jsonMarshaler) || t.Implements(textMarshaler)
}

// textOf is the text of a string, or of what writes itself as text. Of what writes itself as JSON there is none to look
// at: it stands in the document as it is.
func textOf(v reflect.Value) (text []byte, ok bool, err error) {
	if writesItself(v) {
		switch m := whole(v).(type) {
		case json.Marshaler:
			return nil, true, nil
		case encoding.TextMarshaler:
			text, err = m.MarshalText()
			return text, true, err
		}
	}
	if v.Kind() != reflect.String {
		return nil, false, nil
	}
	return []byte(v.String()), true, nil
}

func keyText(key reflect.Value) (text []byte, ok bool, err error) {
	if key.Kind() == reflect.String {
		return []byte(key.String()), true, nil
	}
	if m, isText := key.Interface().(encoding.TextMarshaler); isText && (key.Kind() != reflect.Pointer || !key.IsNil()) {
		text, err = m.MarshalText()
		return text, true, err
	}
	return nil, false, nil
}
