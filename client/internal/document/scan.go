package document

import (
	"bytes"
	"encoding/json"
	"unicode"
)

// What follows reads valid JSON only; what calls it has asked json.Valid, or got it from encoding/json. On anything else
// it gives nonsense, but stays within the bytes.

// member is one key of an object with its value, as they stand in the document.
type member struct {
	key  string
	name []byte // the key in its quotes
	raw  []byte
}

// isObject and isArray look at the first byte of a value without space around it.
func isObject(raw []byte) bool { return len(raw) > 0 && raw[0] == '{' }

func isArray(raw []byte) bool { return len(raw) > 0 && raw[0] == '[' }

func isNull(raw []byte) bool { return len(raw) > 0 && raw[0] == 'n' }

func trim(raw []byte) []byte { return bytes.Trim(raw, " \t\r\n") }

// members are those of an object, in their order, duplicates too.
func members(raw []byte) []member {
	var found []member
	for i := space(raw, 1); i < len(raw) && raw[i] == '"'; {
		var m member
		end := skip(raw, i)
		m.name, m.key = raw[i:end], unquote(raw[i:end])
		i = space(raw, end)
		i = space(raw, min(i+1, len(raw))) // the colon
		end = skip(raw, i)
		m.raw = raw[i:end]
		found = append(found, m)
		i = space(raw, end)
		if i >= len(raw) || raw[i] != ',' {
			break
		}
		i = space(raw, i+1)
	}
	return found
}

// elements are those of an array.
func elements(raw []byte) [][]byte {
	var found [][]byte
	for i := space(raw, 1); i < len(raw) && raw[i] != ']'; {
		end := skip(raw, i)
		found = append(found, raw[i:end])
		i = space(raw, end)
		if i >= len(raw) || raw[i] != ',' {
			break
		}
		i = space(raw, i+1)
	}
	return found
}

// byKey are the values of an object; of a key that is there twice the last counts.
func byKey(members []member) map[string][]byte {
	values := make(map[string][]byte, len(members))
	for _, m := range members {
		values[m.key] = m.raw
	}
	return values
}

func space(raw []byte, i int) int {
	for i < len(raw) && (raw[i] == ' ' || raw[i] == '\t' || raw[i] == '\n' || raw[i] == '\r') {
		i++
	}
	return i
}

// skip is the end of the value that begins at i.
func skip(raw []byte, i int) int {
	if i >= len(raw) {
		return len(raw)
	}
	switch raw[i] {
	case '"':
		return skipString(raw, i)
	case '{', '[':
		depth := 0
		for i < len(raw) {
			switch raw[i] {
			case '"':
				i = skipString(raw, i)
				continue
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
			i++
		}
		return len(raw)
	}
	for i < len(raw) && raw[i] != ',' && raw[i] != '}' && raw[i] != ']' && raw[i] > ' ' {
		i++
	}
	return i
}

func skipString(raw []byte, i int) int {
	for i++; i < len(raw); i++ {
		end := bytes.IndexByte(raw[i:], '"')
		if end < 0 {
			return len(raw)
		}
		end += i
		slashes := 0
		for at := end - 1; at >= i && raw[at] == '\\'; at-- {
			slashes++
		}
		if slashes%2 == 0 {
			return end + 1
		}
		i = end
	}
	return len(raw)
}

func unquote(raw []byte) string {
	if bytes.IndexByte(raw, '\\') < 0 && len(raw) >= 2 {
		return string(raw[1 : len(raw)-1])
	}
	var s string
	_ = json.Unmarshal(raw, &s) // it is valid
	return s
}

// foldRune is the smallest of the runes that differ from r only in upper and lower case.
func foldRune(r rune) rune {
	for {
		next := unicode.SimpleFold(r)
		if next <= r {
			return next
		}
		r = next
	}
}
