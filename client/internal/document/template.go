package document

import (
	"fmt"
	"reflect"
)

// comesBack finds a value in the template that a game could not get rid of: its field is left out of the document when it
// is empty, and what is missing in a document is filled in at the next load.
func (s *shape) comesBack(v reflect.Value, at path, keys bool) error {
	switch s.kind {
	case pointer:
		if !v.IsNil() {
			return s.elem.comesBack(v.Elem(), at, keys)
		}
	case object:
		for i := range s.fields {
			f := &s.fields[i]
			inner := f.in(v)
			if !inner.IsValid() || f.omits(inner) {
				continue
			}
			if f.omitEmpty && canBeEmpty(inner) || f.omitZero && !emptyMap(inner) {
				return fmt.Errorf("the template has a value at %s, a field that is left out when it is empty: once a game has "+
					"emptied it, the next load would fill it in again; take omitempty or omitzero out of its tag, or the value "+
					"out of the template", at.key(f.name))
			}
			if err := f.shape.comesBack(inner, at.key(f.name), false); err != nil {
				return err
			}
		}
	case tuple:
		for i := range v.Len() {
			if err := s.elem.comesBack(v.Index(i), at.index(i), false); err != nil {
				return err
			}
		}
	case dict:
		if !keys {
			return nil // taken whole from the stored document
		}
		for each := v.MapRange(); each.Next(); {
			if err := s.elem.comesBack(each.Value(), at.key(fmt.Sprint(each.Key())), true); err != nil {
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

// emptyMap: of a map or slice that is empty but not nil nothing would come back that a game could notice.
func emptyMap(v reflect.Value) bool {
	return (v.Kind() == reflect.Map || v.Kind() == reflect.Slice) && v.Len() == 0
}

// Loses says which field a copy of a T by way of JSON would not have, as an error; nil if there is none.
func Loses(t reflect.Type) error { return shapeOf(t).loses(path{}, make(map[*shape]bool)) }

// loses finds what a copy by way of the document would not have: fields that encoding/json leaves out.
func (s *shape) loses(at path, seen map[*shape]bool) error {
	if seen[s] {
		return nil
	}
	seen[s] = true
	if s.kind == object {
		if name := s.leftOut(s.typ, nil); name != "" {
			return fmt.Errorf("%s: %s is not in the JSON of a %s, so that a copy would not have it: give the store a function "+
				"that copies, by WithCopy", at, name, s.typ)
		}
		for i := range s.fields {
			if err := s.fields[i].shape.loses(at.key(s.fields[i].name), seen); err != nil {
				return err
			}
		}
	}
	if s.elem != nil {
		if s.kind != pointer {
			at = at.any()
		}
		return s.elem.loses(at, seen)
	}
	return nil
}

// leftOut names a field of a struct, or of one embedded in it, that is no field of the shape.
func (s *shape) leftOut(t reflect.Type, index []int) string {
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
			if name := s.leftOut(inner, at); name != "" {
				return name
			}
		default:
			return sf.Name
		}
	}
	return ""
}
