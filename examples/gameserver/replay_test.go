package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func write(t *testing.T, dir, name, data string) {
	t.Helper()
	path := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestLoadHistories(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "two/player-001/10.json", `{"v":10}`)
	write(t, dir, "two/player-001/9.json", `{"v":9}`)
	write(t, dir, "one/player-002/0001.json", `{"v": 1.50}`) // its form must survive
	write(t, dir, "one/timeline.tsv", "not a version")
	histories, err := LoadHistories(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, h := range histories {
		for _, v := range h.Versions {
			got = append(got, h.Name+" "+string(v))
		}
	}
	want := []string{`one/player-002 {"v": 1.50}`, `two/player-001 {"v":9}`, `two/player-001 {"v":10}`}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestLoadHistoriesRefuses(t *testing.T) {
	empty, broken := t.TempDir(), t.TempDir()
	write(t, broken, "one/player-001/0001.json", `{"v":`)
	for name, dir := range map[string]string{
		"no .json file": empty, "is not JSON": broken, "no such file": filepath.Join(empty, "absent"),
	} {
		if _, err := LoadHistories(dir); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want an error that says %q", err, name)
		}
	}
}

func TestReplayGoesRound(t *testing.T) {
	h := History{Versions: []json.RawMessage{[]byte(`1`), []byte(`2`), []byte(`3`)}}
	now, got := json.RawMessage(`null`), ""
	for range 7 {
		now = h.After(now)
		got += string(now)
	}
	if want := "1231231"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
