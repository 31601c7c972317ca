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
	name       string
	index      []int // arguments of reflect.Value.Field, one for each struct on the way
	typ        reflect.Type
	shape      *shape
	tagged     bool // the tag gives the name
	omitEmpty  bool
	omitZero   bool
	quoted     bool // it has the tag option "string": a number or bool is written as a string
	unreadable bool // it is behind an embedded pointer to an unexported struct, which encoding/json can write but not read
}

// listFields lists the fields that encoding/json writes and reads of a struct, by its rules: of several fields with one
// name the shallowest counts, at equal depth the one with a tag, and fields that are still equal hide each other. The
// breadth-first search over embedded structs follows typeFields in encoding/json/encode.go.
func listFields(t reflect.Type) []field {
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
				f, embedded, ok := readField(outer, i)
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
	return dropHiddenFields(found)
}

// readField returns the i-th field of a struct. embedded says that it is a struct and that its own fields count instead.
func readField(outer field, i int) (f field, embedded, ok bool) {
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
	if !isValidName(name) {
		name = ""
	}
	f = field{
		name: name, index: append(slices.Clip(outer.index), i), typ: sf.Type, tagged: name != "", unreadable: outer.unreadable,
	}
	if name == "" && sf.Anonymous && inner.Kind() == reflect.Struct {
		f.unreadable = f.unreadable || !sf.IsExported() && sf.Type.Kind() == reflect.Pointer
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
			f.quoted = canBeQuoted(inner.Kind())
		}
	}
	return f, false, true
}

func canBeQuoted(k reflect.Kind) bool {
	return k >= reflect.Bool && k <= reflect.Float64 || k == reflect.String
}

func isValidName(name string) bool {
	for _, r := range name {
		if !strings.ContainsRune("!#$%&()*+-./:;<=>?@[]^_{|}~ ", r) && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			return false
		}
	}
	return name != ""
}

// dropHiddenFields keeps the fields that no other field of the same name hides, in the order of their declaration.
func dropHiddenFields(found []field) []field {
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

// valueIn returns the field's value in a struct; it is invalid if an embedded pointer on the way is nil.
func (f *field) valueIn(v reflect.Value) reflect.Value {
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

// omitsValue reports whether omitempty or omitzero leave this value out of the document.
func (f *field) omitsValue(v reflect.Value) bool {
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
	return f.omitZero && isZeroValue(v)
}

func isZeroValue(v reflect.Value) bool {
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
