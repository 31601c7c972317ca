package document

import (
	"strconv"
	"strings"
)

// path is where something is in a document, written as in JSONPath: $.bag[3].name.
type path struct {
	up   *path
	step string
}

func (p path) key(key string) path {
	if plain := key != "" && strings.IndexFunc(key, func(r rune) bool {
		return r != '_' && r != '-' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}) < 0; plain {
		return path{&p, "." + key}
	}
	return path{&p, "[" + strconv.Quote(key) + "]"}
}

func (p path) index(i int) path { return path{&p, "[" + strconv.Itoa(i) + "]"} }

// any stands for every element of an array.
func (p path) any() path { return path{&p, "[*]"} }

func (p path) String() string {
	var steps []string
	for at := &p; at != nil; at = at.up {
		steps = append(steps, at.step)
	}
	var b strings.Builder
	b.WriteByte('$')
	for i := len(steps) - 1; i >= 0; i-- {
		b.WriteString(steps[i])
	}
	return b.String()
}
