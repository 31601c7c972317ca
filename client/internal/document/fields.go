package document

import (
	"cmp"
	"reflect"
	"slices"
	"strings"
	"unicode"
)

// field is a struct's field as encoding/json sees it: fields of embedded structs belong to the struct around them.
type field struct {
	name      string
	index     []int // for reflect.Value.Field, one number for each struct on the way
	typ       reflect.Type
	shape     *shape
	tagged    bool // the name comes from the tag
	omitEmpty bool
	omitZero  bool
	quoted    bool // the option string: a number or bool is written as a string
	sealed    bool // behind an embedded pointer to an unexported struct, which encoding/json writes and cannot read
}

// fieldsOf lists the fields that encoding/json writes and reads of a struct, by its rules: of fields with one name the
// shallowest counts, among equals the one with a tag, and several that are still equal hide each other.
func fieldsOf(t reflect.Type) []field {
	var found []field
	next := []field{{typ: t}}
	visited := make(map[reflect.Type]bool)
	var count, nextCount map[reflect.Type]int
	for len(next) > 0 {
		level := next
		next, count, nextCount = nil, nextCount, make(map[reflect.Type]int)
		for _, outer := range level {
			if visited[outer.typ] {
				continue
			}
			visited[outer.typ] = true
			for i := range outer.typ.NumField() {
				f, embedded, ok := fieldAt(outer, i)
				switch {
				case !ok:
				case embedded:
					if nextCount[f.typ]++; nextCount[f.typ] == 1 {
						next = append(next, f)
					}
				default:
					found = append(found, f)
					if count[outer.typ] > 1 { // the struct is embedded twice at this depth: its fields hide each other
						found = append(found, f)
					}
				}
			}
		}
	}
	return dominant(found)
}

// fieldAt is the i-th field of a struct, or one that is embedded and whose fields count in its place.
func fieldAt(outer field, i int) (f field, embedded, ok bool) {
	sf := outer.typ.Field(i)
	inner := sf.Type
	if inner.Kind() == reflect.Pointer && (sf.Anonymous || inner.Name() == "") {
		inner = inner.Elem()
	}
	if !sf.IsExported() && (!sf.Anonymous || inner.Kind() != reflect.Struct) {
		return field{}, false, false
	}
	tag := sf.Tag.Get("json")
	if tag == "-" {
		return field{}, false, false
	}
	name, options, _ := strings.Cut(tag, ",")
	if !validName(name) {
		name = ""
	}
	f = field{
		name: name, index: append(slices.Clip(outer.index), i), typ: sf.Type, tagged: name != "", sealed: outer.sealed,
	}
	if name == "" && sf.Anonymous && inner.Kind() == reflect.Struct {
		f.sealed = f.sealed || !sf.IsExported() && sf.Type.Kind() == reflect.Pointer
		f.typ = inner
		return f, true, true
	}
	if name == "" {
		f.name = sf.Name
	}
	for option := range strings.SplitSeq(options, ",") {
		switch option {
		case "omitempty":
			f.omitEmpty = true
		case "omitzero":
			f.omitZero = true
		case "string":
			f.quoted = quotable(inner.Kind())
		}
	}
	return f, false, true
}

func quotable(k reflect.Kind) bool {
	return k >= reflect.Bool && k <= reflect.Float64 || k == reflect.String
}

func validName(name string) bool {
	for _, r := range name {
		if !strings.ContainsRune("!#$%&()*+-./:;<=>?@[]^_{|}~ ", r) && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			return false
		}
	}
	return name != ""
}

func dominant(found []field) []field {
	slices.SortStableFunc(found, func(a, b field) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(len(a.index), len(b.index)), compareBool(b.tagged, a.tagged),
			slices.Compare(a.index, b.index))
	})
	var fields []field
	for len(found) > 0 {
		n := 1
		for n < len(found) && found[n].name == found[0].name {
			n++
		}
		if n == 1 || len(found[0].index) != len(found[1].index) || found[0].tagged != found[1].tagged {
			fields = append(fields, found[0])
		}
		found = found[n:]
	}
	slices.SortFunc(fields, func(a, b field) int { return slices.Compare(a.index, b.index) })
	return fields
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// in is the field's value, invalid if an embedded pointer on the way is nil.
func (f *field) in(v reflect.Value) reflect.Value {
	for i, at := range f.index {
		if i > 0 && v.Kind() == reflect.Pointer {
			if v.IsNil() {
				return reflect.Value{}
			}
			v = v.Elem()
		}
		v = v.Field(at)
	}
	return v
}

// omits says whether the field's options leave this value out of the document.
func (f *field) omits(v reflect.Value) bool {
	if f.omitEmpty {
		switch k := v.Kind(); {
		case k == reflect.Array || k == reflect.Map || k == reflect.Slice || k == reflect.String:
			if v.Len() == 0 {
				return true
			}
		case k <= reflect.Float64 || k == reflect.Interface || k == reflect.Pointer:
			if v.IsZero() {
				return true
			}
		}
	}
	return f.omitZero && isZero(v)
}

func isZero(v reflect.Value) bool {
	if v.Kind() == reflect.Pointer && v.IsNil() {
		return true
	}
	if z, ok := v.Interface().(interface{ IsZero() bool }); ok {
		return z.IsZero()
	}
	if v.CanAddr() {
		if z, ok := v.Addr().Interface().(interface{ IsZero() bool }); ok {
			return z.IsZero()
		}
	}
	return v.IsZero()
}
