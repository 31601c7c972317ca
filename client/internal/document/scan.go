package document

import (
	"bytes"
	"encoding/json"
	"unicode"
)

// The functions of this file cut valid JSON into its parts without copying. Their callers have checked it by json.Valid, or
// got it from encoding/json. For invalid JSON the result is meaningless, but no function reads outside of the slice.

// member is one key of an object with its value. quotedKey and value are slices of the document.
type member struct {
	key       string
	quotedKey []byte // the key in its quotes
	value     []byte
}

// isObject, isArray and isNull look at the first byte of a value, which must have no space before it.
func isObject(raw []byte) bool { return len(raw) > 0 && raw[0] == '{' }

func isArray(raw []byte) bool { return len(raw) > 0 && raw[0] == '[' }

func isNull(raw []byte) bool { return len(raw) > 0 && raw[0] == 'n' }

func trimSpace(raw []byte) []byte { return bytes.Trim(raw, " \t\r\n") }

// objectMembers returns the members of an object in their order, duplicate keys included.
func objectMembers(raw []byte) []member {
	var found []member
	for i := skipSpace(raw, 1); i < len(raw) && raw[i] == '"'; {
		var m member
		end := skipValue(raw, i)
		m.quotedKey, m.key = raw[i:end], unquoteString(raw[i:end])
		i = skipSpace(raw, end)
		i = skipSpace(raw, min(i+1, len(raw))) // the colon
		end = skipValue(raw, i)
		m.value = raw[i:end]
		found = append(found, m)
		i = skipSpace(raw, end)
		if i >= len(raw) || raw[i] != ',' {
			break
		}
		i = skipSpace(raw, i+1)
	}
	return found
}

// arrayElements returns the elements of an array.
func arrayElements(raw []byte) [][]byte {
	var found [][]byte
	for i := skipSpace(raw, 1); i < len(raw) && raw[i] != ']'; {
		end := skipValue(raw, i)
		found = append(found, raw[i:end])
		i = skipSpace(raw, end)
		if i >= len(raw) || raw[i] != ',' {
			break
		}
		i = skipSpace(raw, i+1)
	}
	return found
}

// valuesByKey returns the values of an object by key; of a duplicate key the last counts, as in encoding/json.
func valuesByKey(members []member) map[string][]byte {
	values := make(map[string][]byte, len(members))
	for _, m := range members {
		values[m.key] = m.value
	}
	return values
}

func skipSpace(raw []byte, i int) int {
	for i < len(raw) && (raw[i] == ' ' || raw[i] == '\t' || raw[i] == '\n' || raw[i] == '\r') {
		i++
	}
	return i
}

// skipValue returns the end of the value that begins at i.
func skipValue(raw []byte, i int) int {
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

func unquoteString(raw []byte) string {
	if bytes.IndexByte(raw, '\\') < 0 && len(raw) >= 2 {
		return string(raw[1 : len(raw)-1])
	}
	var s string
	_ = json.Unmarshal(raw, &s) // it is valid
	return s
}

// foldRune returns the smallest of the runes that differ from r only in upper and lower case.
func foldRune(r rune) rune {
	for {
		next := unicode.SimpleFold(r)
		if next <= r {
			return next
		}
		r = next
	}
}
