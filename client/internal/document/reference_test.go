package document

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

// older is a game's data, and newer the same data in a later version of the game.
type older struct {
	Name   string
	Coins  int            `json:"coins"`
	Spent  int            `json:"spent,omitempty"`
	Home   olderPlace     `json:"home"`
	Pet    *olderPlace    `json:"pet"`
	Bag    []olderPlace   `json:"bag"`
	Counts map[string]int `json:"counts"`
	Places map[string]olderPlace
	Rooms  [2]olderPlace
	Maps   map[string]map[string]olderPlace
	Lists  map[string][]int
	Any    any
}

type olderPlace struct {
	X    int
	Note string      `json:",omitempty"`
	Next *olderPlace `json:",omitempty"`
}

type newer struct {
	Name    string
	Guild   map[string]int
	Coins   int            `json:"Coins"` // another case
	Spent   int            `json:"spent"`
	Home    newerPlace     `json:"home"`
	Pet     *newerPlace    `json:"pet"`
	Bag     []newerPlace   `json:"bag"`
	Counts  map[string]int `json:"counts"`
	Places  map[string]newerPlace
	Rooms   [3]newerPlace
	Maps    map[string]map[string]newerPlace
	Lists   map[string][]int
	Any     any
	Seen    []newerPlace
	Premium *bool `json:"premium"`
}

type newerPlace struct {
	Y    int64
	X    int
	Note string      `json:",omitempty"`
	Next *newerPlace `json:",omitempty"`
	Tags []string    `json:",omitempty"`
}

// fillRandomly fills a value with few different values, so that equal ones are frequent.
func fillRandomly(r *rand.Rand, v reflect.Value, depth int) {
	switch v.Kind() {
	case reflect.String:
		v.SetString([]string{"", "a", "\"é\\", "\u2028<\uFFFD"}[r.IntN(4)])
	case reflect.Int:
		v.SetInt(r.Int64N(3))
	case reflect.Int64:
		v.SetInt(1<<60 + r.Int64N(3))
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Struct:
		for i := range v.NumField() {
			if r.IntN(4) > 0 {
				fillRandomly(r, v.Field(i), depth+1)
			}
		}
	case reflect.Pointer:
		v.SetZero()
		if depth < 6 && r.IntN(2) == 0 {
			v.Set(reflect.New(v.Type().Elem()))
			fillRandomly(r, v.Elem(), depth+1)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), r.IntN(4), 4))
		for i := range v.Len() {
			fillRandomly(r, v.Index(i), depth+1)
		}
	case reflect.Array:
		for i := range v.Len() {
			fillRandomly(r, v.Index(i), depth+1)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range r.IntN(4) {
			entry := reflect.New(v.Type().Elem()).Elem()
			fillRandomly(r, entry, depth+1)
			v.SetMapIndex(reflect.ValueOf([]string{"a", "B", "X", "x.y"}[r.IntN(4)]), entry)
		}
	case reflect.Interface:
		v.Set(reflect.ValueOf([]any{1, "s", map[string]any{"X": json.Number("9007199254740993")}, []any{nil}}[r.IntN(4)]))
	}
}

// changeRandomly makes some parts of a value new.
func changeRandomly(r *rand.Rand, v reflect.Value) {
	switch {
	case r.IntN(6) == 0:
		fillRandomly(r, v, 3)
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			changeRandomly(r, v.Field(i))
		}
	case v.Kind() == reflect.Pointer && !v.IsNil():
		changeRandomly(r, v.Elem())
	case v.Kind() == reflect.Slice && v.Len() > 0 && r.IntN(3) == 0:
		i, j := r.IntN(v.Len()), r.IntN(v.Len())
		kept := reflect.ValueOf(v.Index(i).Interface())
		v.Index(i).Set(v.Index(j)) // a copy of one in place of another
		if r.IntN(2) == 0 {
			v.Index(j).Set(kept) // or both change places
		}
	case v.Kind() == reflect.Slice && v.Len() > 0 && r.IntN(3) == 0:
		v.Set(reflect.AppendSlice(v.Slice(0, 0), v.Slice(1, v.Len())))
	case v.Kind() == reflect.Slice || v.Kind() == reflect.Array:
		for i := range v.Len() {
			changeRandomly(r, v.Index(i))
		}
	case v.Kind() == reflect.Map:
		for _, key := range v.MapKeys() {
			entry := reflect.New(v.Type().Elem()).Elem()
			entry.Set(v.MapIndex(key))
			changeRandomly(r, entry)
			if v.SetMapIndex(key, entry); r.IntN(6) == 0 {
				v.SetMapIndex(key, reflect.Value{})
			}
		}
	}
}

// referenceMerge is the reference model of a save: on maps, without regard for order and cost.
func referenceMerge(t reflect.Type, stored, known, now any) any {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if equalValues(known, now) {
		return stored
	}
	switch s := stored.(type) {
	case map[string]any:
		k, okK := known.(map[string]any)
		n, okN := now.(map[string]any)
		if !okK || !okN || t.Kind() != reflect.Struct && t.Kind() != reflect.Map {
			return now
		}
		merged := make(map[string]any)
		for key, value := range s {
			name, of := findOwnField(t, key)
			_, was := k[name]
			_, is := n[name]
			switch {
			case of == nil, !was && !is && t.Kind() == reflect.Struct: // unknown, or empty and left out
				merged[key] = value
			case was && is:
				merged[key] = referenceMerge(of, value, k[name], n[name])
			case is:
				merged[key] = n[name]
			}
		}
		for name, value := range n {
			there := false
			for key := range s {
				if its, _ := findOwnField(t, key); its == name {
					there = true
				}
			}
			if !there {
				merged[name] = value
			}
		}
		return merged
	case []any:
		k, okK := known.([]any)
		n, okN := now.([]any)
		if !okK || !okN {
			return now
		}
		if t.Kind() == reflect.Array {
			merged := append([]any(nil), s...)
			for i := range n {
				merged[i] = referenceMerge(t.Elem(), s[i], k[i], n[i])
			}
			return merged
		}
		if t.Kind() != reflect.Slice {
			return now
		}
		merged := make([]any, len(n))
		used := make(map[int]bool)
		for i := range n { // those that stayed in their place have the first choice
			if i < len(k) && equalValues(k[i], n[i]) {
				merged[i], used[i] = s[i], true
			}
		}
		for i := range n {
			for j := 0; merged[i] == nil && j < len(k); j++ {
				if !used[j] && equalValues(k[j], n[i]) {
					merged[i], used[j] = s[j], true
				}
			}
			if merged[i] == nil {
				merged[i] = n[i]
			}
		}
		return merged
	}
	return now
}

// findOwnField returns the name by which a type writes a key, and the field's type; nil if it does not know the key.
func findOwnField(t reflect.Type, key string) (string, reflect.Type) {
	if t.Kind() == reflect.Map {
		return key, t.Elem()
	}
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if name == "" {
			name = t.Field(i).Name
		}
		if strings.EqualFold(name, key) {
			return name, t.Field(i).Type
		}
	}
	return "", nil
}

func equalValues(a, b any) bool { return reflect.DeepEqual(a, b) }

func parseJSON(t *testing.T, data []byte) (value any) {
	t.Helper()
	if err := Unmarshal(data, &value); err != nil {
		t.Fatalf("%s: %v", data, err)
	}
	return value
}

// FuzzSaveAgainstTheReference lets an older version of a game load, change and save data that a newer one stored.
func FuzzSaveAgainstTheReference(f *testing.F) {
	for seed := range uint64(400) {
		f.Add(seed, seed%3 == 0)
	}
	var fromNewer older // the part of a template that both know
	fromNewer.Coins, fromNewer.Name, fromNewer.Rooms = 100, "new", [2]olderPlace{{X: 7}, {X: 8}}
	form, err := New(&fromNewer)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, seed uint64, indented bool) {
		r := rand.New(rand.NewPCG(seed, 1))
		var theirs newer
		fillRandomly(r, reflect.ValueOf(&theirs).Elem(), 0)
		stored, err := Marshal(&theirs)
		if indented && err == nil {
			stored, err = json.MarshalIndent(&theirs, "", " ")
		}
		if err != nil {
			t.Fatal(err)
		}
		value, d, document, err := form.Load(stored)
		if err != nil {
			t.Fatal(err)
		}
		if !equalValues(parseJSON(t, document), parseJSON(t, form.root.fillFromTemplate(stored, form.template))) {
			t.Fatalf("loaded %s\ngot %s", stored, document)
		}
		known, err := Marshal(&value)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			changeRandomly(r, reflect.ValueOf(&value).Elem())
			now, err := Marshal(&value)
			if err != nil {
				t.Fatal(err)
			}
			got, _, err := d.Encode(&value)
			if err != nil {
				t.Fatalf("stored %s\nnow %s\n%v", document, now, err)
			}
			want := referenceMerge(reflect.TypeFor[older](), parseJSON(t, document), parseJSON(t, known), parseJSON(t, now))
			if !equalValues(parseJSON(t, got), want) {
				wanted, _ := Marshal(want)
				t.Fatalf("stored %s\nknown %s\nnow %s\ngot %s\nwant %s", document, known, now, got, wanted)
			}
			if again, _, err := d.Encode(&value); err != nil || string(again) != string(got) {
				t.Fatalf("unchanged: got %s, %v, want %s", again, err, got)
			}
			document, known = got, now
		}
	})
}

// FuzzLoad gives any bytes to a load: it fails as encoding/json does, or gives a value whose document loads as the same.
func FuzzLoad(f *testing.F) {
	for _, s := range []string{
		`{"coins":1,"COINS":2,"\u0063oins":3}`, `{"home":{"X":1},"home":{"note":"a"},"new":[{"a":1}]}`, `{"Rooms":[null,{"X":null}],"bag":[{},null]}`,
		`null`, `[]`, `{"Maps":{"a":{"b":{"Next":{"next":null,"z":"\ud800"}}}}}`, `{"counts":{"a":1,"a":2}}`, `{"pet":{}} {}`, `{"coins":}`, "{\"a\":\"\xff\"}",
	} {
		f.Add([]byte(s), uint64(len(s)))
	}
	form, err := New(&older{Coins: 5, Home: olderPlace{X: 3}, Rooms: [2]olderPlace{{X: 1}, {X: 2}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, stored []byte, seed uint64) {
		var plain older
		wrong := Unmarshal(stored, &plain)
		value, d, document, err := form.Load(stored)
		if (err == nil) != (wrong == nil) {
			t.Fatalf("%q: got %v, encoding/json says %v", stored, err, wrong)
		}
		if err != nil {
			return
		}
		back, err := form.Read(document)
		if err != nil || !reflect.DeepEqual(back, value) {
			t.Fatalf("%q: loaded %+v, from %s %+v, %v", stored, value, document, back, err)
		}
		changeRandomly(rand.New(rand.NewPCG(seed, 2)), reflect.ValueOf(&value).Elem())
		if _, _, err := d.Encode(&value); err != nil { // Load checked that the value can be read back
			t.Fatalf("%q: save %+v: %v", stored, value, err)
		}
	})
}
