package document

import (
	"strconv"
	"strings"
)

// path is a place in a document, printed as JSONPath: $.bag[3].name. Its zero value is the root.
type path struct {
	parent *path
	step   string
}

func (p path) atKey(key string) path {
	if plain := key != "" && strings.IndexFunc(key, func(r rune) bool {
		return r != '_' && r != '-' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}) < 0; plain {
		return path{&p, "." + key}
	}
	return path{&p, "[" + strconv.Quote(key) + "]"}
}

func (p path) atIndex(i int) path { return path{&p, "[" + strconv.Itoa(i) + "]"} }

// atAnyIndex returns the path that means every element of an array.
func (p path) atAnyIndex() path { return path{&p, "[*]"} }

func (p path) String() string {
	var steps []string
	for at := &p; at != nil; at = at.parent {
		steps = append(steps, at.step)
	}
	var b strings.Builder
	b.WriteByte('$')
	for i := len(steps) - 1; i >= 0; i-- {
		b.WriteString(steps[i])
	}
	return b.String()
}
