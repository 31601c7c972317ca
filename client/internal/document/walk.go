package document

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"unicode/utf8"
)

// valueWalker visits the parts of a value in the way encoding/json does, to find the part that made it fail. It encodes
// each part again, and is used only after an error.
type valueWalker struct{ fields map[reflect.Type][]field }

func newValueWalker() *valueWalker { return &valueWalker{fields: make(map[reflect.Type][]field)} }

// locateEncodeError adds to an error of encoding/json the path of its cause: the innermost part that fails by itself.
func locateEncodeError(value any, err error) error {
	w := newValueWalker()
	at, inner, ok := w.findEncodeError(reflect.ValueOf(value), path{}, err, 0)
	if !ok {
		at, inner = path{}, err
	}
	return fmt.Errorf("%s: %w", at, inner)
}

// maxSearchDepth bounds the search for the cause of an error: a deeper value probably contains itself.
const maxSearchDepth = 100

func (w *valueWalker) findEncodeError(v reflect.Value, at path, err error, depth int) (path, error, bool) {
	ok := depth < maxSearchDepth
	if !ok {
		return at, err, false
	}
	w.visitParts(v, at, func(part reflect.Value, where path) bool {
		_, worse := marshalUnchecked(addressable(part))
		if worse != nil {
			at, err, ok = w.findEncodeError(part, where, worse, depth+1)
		}
		return worse == nil
	}, func(key reflect.Value, where path) bool {
		_, _, worse := textOfKey(key)
		if worse != nil {
			at, err = where, worse
		}
		return worse == nil
	})
	return at, err, ok
}

// findInvalidUTF8 returns an error that names a string that is not UTF-8; nil if there is none, since a valid text may
// hold the replacement character too.
func findInvalidUTF8(value any) error {
	var found error
	complain := func(where path, text []byte) bool {
		found = fmt.Errorf("%s: the string %q is not UTF-8", where, text)
		return false
	}
	w := newValueWalker()
	var look func(v reflect.Value, at path) bool
	look = func(v reflect.Value, at path) bool {
		if v = dereference(v); !v.IsValid() {
			return true
		}
		switch text, isText, err := textOf(v); {
		case err == nil && isText && !utf8.Valid(text):
			return complain(at, text)
		case isText:
			return true
		}
		return w.visitParts(v, at, look, func(key reflect.Value, where path) bool {
			text, isText, err := textOfKey(key)
			return err != nil || !isText || utf8.Valid(text) || complain(where, text)
		})
	}
	look(reflect.ValueOf(value), path{})
	return found
}

// visitParts calls visit for each direct part of a value, and key for each key of a map, until one of them returns false;
// it reports whether all returned true. It does not look into types with their own marshalling code.
func (w *valueWalker) visitParts(v reflect.Value, at path, visit, key func(reflect.Value, path) bool) bool {
	if v = dereference(v); !v.IsValid() || writesItself(v) {
		return true
	}
	switch v.Kind() {
	case reflect.Struct:
		fields, known := w.fields[v.Type()]
		if !known {
			fields = listFields(v.Type())
			w.fields[v.Type()] = fields
		}
		for i := range fields {
			f := &fields[i]
			if part := f.valueIn(v); part.IsValid() && !f.omitsValue(part) && !visit(part, at.atKey(f.name)) {
				return false
			}
		}
	case reflect.Map:
		for each := v.MapRange(); each.Next(); {
			where := at.atKey(fmt.Sprint(each.Key()))
			if !key(each.Key(), where) || !visit(each.Value(), where) {
				return false
			}
		}
	case reflect.Slice, reflect.Array:
		if v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8 {
			return true
		}
		for i := range v.Len() {
			if !visit(v.Index(i), at.atIndex(i)) {
				return false
			}
		}
	}
	return true
}

// dereference follows pointers and interfaces, and stops at a type with its own marshalling code. It is invalid after nil.
func dereference(v reflect.Value) reflect.Value {
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

// addressable returns a part as encoding/json would use it: by its pointer, with the pointer's methods, where there is one.
func addressable(v reflect.Value) any {
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

// textOf returns the text of a string or of a TextMarshaler. ok without a text means a json.Marshaler: its JSON is copied
// into the document as it is.
func textOf(v reflect.Value) (text []byte, ok bool, err error) {
	if writesItself(v) {
		switch m := addressable(v).(type) {
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

func textOfKey(key reflect.Value) (text []byte, ok bool, err error) {
	if key.Kind() == reflect.String {
		return []byte(key.String()), true, nil
	}
	if m, isText := key.Interface().(encoding.TextMarshaler); isText && (key.Kind() != reflect.Pointer || !key.IsNil()) {
		text, err = m.MarshalText()
		return text, true, err
	}
	return nil, false, nil
}
