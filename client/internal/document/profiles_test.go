package document

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

// eachProfile reads the real saves of players, where there are any; they may not be copied to here.
func eachProfile(t testing.TB, visit func(name string, data []byte)) {
	root := os.Getenv("PROFILENODE_PROFILES")
	if root == "" {
		root = filepath.Join("..", "..", "..", "..", "shared", "data", "profiles")
	}
	names, err := filepath.Glob(filepath.Join(root, "*", "player-*", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	if len(names) == 0 {
		t.Skipf("there are no saves in %s: set PROFILENODE_PROFILES to a folder of game/player-*/*.json", root)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		visit(name, data)
	}
}

// partial is the data of a game that knows a few fields of real games' profiles.
type partial struct {
	UUID       string `json:"uuid"`
	Playerdata *struct {
		Health    float64
		XpLevel   int
		Inventory []struct {
			Slot int
			ID   json.RawMessage `json:"id"`
		}
	} `json:"playerdata,omitempty"`
	Stats  json.RawMessage `json:"stats,omitempty"`
	Rounds int
}

// A game that knows some fields of real profiles changes one, and all else is there as it was.
func TestRealProfilesKeepWhatAGameDoesNotKnow(t *testing.T) {
	form, err := New(&partial{})
	if err != nil {
		t.Fatal(err)
	}
	whole, err := New(&map[string]any{})
	if err != nil {
		t.Fatal(err)
	}
	eachProfile(t, func(name string, data []byte) {
		value, d, unchanged, err := form.Load(data)
		if err != nil {
			t.Fatal(name, err)
		}
		if again, _, err := d.Encode(&value); err != nil || !bytes.Equal(again, unchanged) {
			t.Fatalf("%s, unchanged: got %d bytes, %v, want %d", name, len(again), err, len(unchanged))
		}
		value.Rounds++
		got, lost, err := d.Encode(&value)
		if err != nil || len(lost) > 0 {
			t.Fatal(name, lost, err)
		}
		want, is := parseJSON(t, data).(map[string]any), parseJSON(t, got).(map[string]any)
		want["Rounds"] = json.Number("1")
		if _, there := want["uuid"]; !there {
			want["uuid"] = "" // of the template
		}
		if p, ok := want["playerdata"].(map[string]any); ok {
			for key, value := range is["playerdata"].(map[string]any) {
				if _, there := p[key]; !there {
					p[key] = value // filled in from the template
				}
			}
		}
		if !reflect.DeepEqual(is, want) {
			t.Errorf("%s: not all is there after a save", name)
		}
		// A map that holds the whole profile costs nothing beside it.
		all, d2, _, err := whole.Load(data)
		if err != nil || d2.stored != nil {
			t.Fatal(name, err)
		}
		if _, err := whole.Write(&all); err != nil {
			t.Fatal(name, err)
		}
	})
}

// BenchmarkRealProfiles compares a save, a load and a first save with the cost of encoding/json alone.
func BenchmarkRealProfiles(b *testing.B) {
	var all [][]byte
	size := 0
	eachProfile(b, func(_ string, data []byte) {
		all = append(all, data)
		size += len(data)
	})
	b.Run("any", func(b *testing.B) {
		benchmarkProfiles(b, &map[string]any{}, all, size, func(m *map[string]any, i int) { (*m)["round"] = i })
	})
	b.Run("partial", func(b *testing.B) {
		benchmarkProfiles(b, &partial{}, all, size, func(p *partial, i int) { p.Rounds = i + 1 })
	})
}

func benchmarkProfiles[T any](b *testing.B, template *T, all [][]byte, size int, change func(*T, int)) {
	form, err := New(template)
	if err != nil {
		b.Fatal(err)
	}
	values, documents := make([]T, len(all)), make([]*Document[T], len(all))
	run := func(name string, each func(at, round int) error) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(size))
			for round := 0; b.Loop(); round++ {
				for i := range all {
					if err := each(i, round); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
	run("json.Unmarshal", func(i, _ int) error { var value T; return Unmarshal(all[i], &value) })
	run("load", func(i, _ int) (err error) { values[i], documents[i], _, err = form.Load(all[i]); return err })
	run("json.Marshal", func(i, _ int) error { _, err := marshalUnchecked(&values[i]); return err })
	run("unchanged", func(i, _ int) error { _, _, err := documents[i].Encode(&values[i]); return err })
	run("changed", func(i, round int) error {
		change(&values[i], round)
		_, _, err := documents[i].Encode(&values[i])
		return err
	})
}
