package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/profilenode/profilenode/client"
)

// Replay is the game that plays histories: each moment is the next version, saved at once, as the bytes that it is.
// It has no gifts.
type Replay struct {
	histories map[string]History // by the key of the profile
}

var _ Game[json.RawMessage] = Replay{}

// NewReplay deals histories out to so many profiles, each history as often as it takes, and returns their keys.
func NewReplay(histories []History, profiles int) (Replay, []string) {
	game := Replay{map[string]History{}}
	var roster []string
	for i := range profiles {
		history := histories[i%len(histories)]
		key := fmt.Sprintf("%s/%04d", history.Name, i/len(histories))
		game.histories[key] = history
		roster = append(roster, key)
	}
	return game, roster
}

// Enter makes a profile that holds no version begin at the first.
func (g Replay) Enter(key string, data *json.RawMessage) {
	if g.histories[key].Find(*data) < 0 {
		*data = g.histories[key].Versions[0]
	}
}

func (g Replay) Play(key string, data *json.RawMessage, _ *rand.Rand) (precious bool) {
	*data = g.histories[key].After(*data)
	return true
}

func (g Replay) Gift(string, *rand.Rand) any { return nil }

func (g Replay) Receive(*json.RawMessage, client.Message) (understood, twice bool) {
	return false, false
}

// Mark is the place of the version.
func (g Replay) Mark(key string, data *json.RawMessage) uint64 {
	return uint64(g.histories[key].Find(*data))
}

func (g Replay) Check(key string, data *json.RawMessage, mark uint64, same bool) error {
	place := g.histories[key].Find(*data)
	switch {
	case place < 0:
		return errors.New("its bytes are no version that was ever saved")
	case same && uint64(place) != mark:
		return fmt.Errorf("it is version %d, acknowledged was %d", place+1, mark+1)
	}
	return nil
}

// History is the successive versions of one player's save, oldest first.
type History struct {
	Name     string // the folder, e.g. source/player-001
	Versions []json.RawMessage
}

// LoadHistories reads a folder of successive versions: <source>/<player>/0001.json, 0002.json, ... A player is any folder
// that holds .json files, at any depth; everything else is passed over.
func LoadHistories(dir string) ([]History, error) {
	files := map[string][]string{}
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && strings.HasSuffix(path, ".json") {
			files[filepath.Dir(path)] = append(files[filepath.Dir(path)], path)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read profiles: %w", err)
	}
	var histories []History
	for folder, paths := range files {
		name, err := filepath.Rel(dir, folder)
		if err != nil {
			return nil, fmt.Errorf("read profiles: %w", err)
		}
		history := History{Name: filepath.ToSlash(name)}
		slices.SortFunc(paths, byNumber)
		for _, path := range paths {
			data, err := os.ReadFile(path)
			if err != nil {
				return nil, fmt.Errorf("read profiles: %w", err)
			}
			if !json.Valid(data) {
				return nil, fmt.Errorf("read profiles: %s is not JSON", path)
			}
			history.Versions = append(history.Versions, data)
		}
		histories = append(histories, history)
	}
	if len(histories) == 0 {
		return nil, errors.New("read profiles: no .json file in " + dir)
	}
	slices.SortFunc(histories, func(a, b History) int { return strings.Compare(a.Name, b.Name) })
	return histories, nil
}

// After is the version that follows the one that a profile holds now. The last is followed by the first, and so is
// anything that is no version.
func (h History) After(now json.RawMessage) json.RawMessage {
	return h.Versions[(h.Find(now)+1)%len(h.Versions)]
}

// Find is the place of a version, -1 if it is none.
func (h History) Find(data json.RawMessage) int {
	return slices.IndexFunc(h.Versions, func(v json.RawMessage) bool { return bytes.Equal(v, data) })
}

// byNumber puts 9.json before 10.json.
func byNumber(a, b string) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}
