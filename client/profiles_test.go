package client_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/client/clienttest"
)

// Real saves of real games go through Save and Get byte for byte, the versions of one player as successive saves.
func TestRealProfiles(t *testing.T) {
	root := os.Getenv("PROFILENODE_PROFILES")
	if root == "" {
		root = filepath.Join("..", "..", "shared", "data", "profiles")
	}
	files, err := filepath.Glob(filepath.Join(root, "*", "player-*", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Skipf("there are no saves in %s: set PROFILENODE_PROFILES to a folder of game/player-*/*.json", root)
	}
	cluster := clienttest.Start(t)
	ctx := t.Context()
	store := clienttest.Store[[]byte](t, cluster.Client(t, "a"), "saves", nil)
	reader := clienttest.Store[[]byte](t, cluster.Client(t, "b"), "saves", nil)
	players := map[string]*client.Profile[[]byte]{}
	saved := 0
	for _, file := range files { // in order of player and version
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		folder := filepath.Dir(file)
		key := filepath.Base(filepath.Dir(folder)) + "/" + filepath.Base(folder)
		if players[key] == nil {
			if players[key], err = store.StartSession(ctx, key); err != nil {
				t.Fatal(err)
			}
		}
		p := players[key]
		before := p.Revision()
		var same bool
		if err := p.Update(func(d *[]byte) { same = before > 0 && bytes.Equal(*d, want); *d = want }); err != nil {
			t.Fatal(err)
		}
		if err := p.Save(ctx); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if after := before + 1; !same && p.Revision() != after {
			t.Errorf("%s: got revision %d, want %d", file, p.Revision(), after)
		}
		got, err := reader.Get(ctx, key)
		if err != nil || !bytes.Equal(got.Data, want) {
			t.Fatalf("%s: got %d bytes back, %v, want its %d bytes", file, len(got.Data), err, len(want))
		}
		saved++
	}
	t.Logf("%d saves of %d players", saved, len(players))
}
