package document

import (
	"fmt"
	"reflect"
)

// checkTemplate returns an error for a template value that a game could never empty: its field is left out of the
// document when it is empty, and the next load would fill the missing field in from the template. keys says that the keys
// of a map are filled in too.
func (s *shape) checkTemplate(v reflect.Value, at path, keys bool) error {
	switch s.kind {
	case pointerKind:
		if !v.IsNil() {
			return s.elem.checkTemplate(v.Elem(), at, keys)
		}
	case structKind:
		for i := range s.fields {
			f := &s.fields[i]
			inner := f.valueIn(v)
			if !inner.IsValid() || f.omitsValue(inner) {
				continue
			}
			if f.omitEmpty && canBeEmpty(inner) || f.omitZero && !isEmptyContainer(inner) {
				return fmt.Errorf("the template has a value at %s, a field that is left out when it is empty: once a game has "+
					"emptied it, the next load would fill it in again; take omitempty or omitzero out of its tag, or the value "+
					"out of the template", at.atKey(f.name))
			}
			if err := f.shape.checkTemplate(inner, at.atKey(f.name), false); err != nil {
				return err
			}
		}
	case arrayKind:
		for i := range v.Len() {
			if err := s.elem.checkTemplate(v.Index(i), at.atIndex(i), false); err != nil {
				return err
			}
		}
	case mapKind:
		if !keys {
			return nil // taken whole from the stored document
		}
		for each := v.MapRange(); each.Next(); {
			if err := s.elem.checkTemplate(each.Value(), at.atKey(fmt.Sprint(each.Key())), true); err != nil {
				return err
			}
		}
	}
	return nil
}

func canBeEmpty(v reflect.Value) bool {
	switch k := v.Kind(); k {
	case reflect.Map, reflect.Slice, reflect.String, reflect.Interface, reflect.Pointer:
		return true
	case reflect.Array:
		return false // its length is that of its type
	default:
		return k <= reflect.Float64
	}
}

// isEmptyContainer reports whether v is an empty map or slice: if it came back after a load, a game would see no difference.
func isEmptyContainer(v reflect.Value) bool {
	return (v.Kind() == reflect.Map || v.Kind() == reflect.Slice) && v.Len() == 0
}

// CheckCopyable returns an error that names a field that a copy of a T by way of JSON would lack; nil if there is none.
func CheckCopyable(t reflect.Type) error {
	return shapeOf(t).checkCopyable(path{}, make(map[*shape]bool))
}

// checkCopyable returns an error that names a field that encoding/json leaves out, and a copy therefore lacks.
func (s *shape) checkCopyable(at path, seen map[*shape]bool) error {
	if seen[s] {
		return nil
	}
	seen[s] = true
	if s.kind == structKind {
		if name := s.fieldNotListed(s.typ, nil); name != "" {
			return fmt.Errorf("%s: %s is not in the JSON of a %s, so that a copy would not have it: give the store a function "+
				"that copies, by WithCopy", at, name, s.typ)
		}
		for i := range s.fields {
			if err := s.fields[i].shape.checkCopyable(at.atKey(s.fields[i].name), seen); err != nil {
				return err
			}
		}
	}
	if s.elem != nil {
		if s.kind != pointerKind {
			at = at.atAnyIndex()
		}
		return s.elem.checkCopyable(at, seen)
	}
	return nil
}

// fieldNotListed names a field of a struct, or of a struct embedded in it, that the shape does not list.
func (s *shape) fieldNotListed(t reflect.Type, index []int) string {
	for i := range t.NumField() {
		sf := t.Field(i)
		at := append(index[:len(index):len(index)], i)
		inner := sf.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		deeper := false // its fields count in its place
		listed := false
		for _, f := range s.fields {
			deeper = deeper || len(f.index) > len(at) && reflect.DeepEqual(f.index[:len(at)], at)
			listed = listed || reflect.DeepEqual(f.index, at)
		}
		switch {
		case listed || sf.Type.Size() == 0:
		case deeper:
			if name := s.fieldNotListed(inner, at); name != "" {
				return name
			}
		default:
			return sf.Name
		}
	}
	return ""
}
