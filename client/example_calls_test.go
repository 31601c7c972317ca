package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"time"

	"github.com/profilenode/profilenode/client"
)

// openExample is a game server with a store of players, on a cluster in memory.
func openExample(name string) (game *client.Client, players *client.Store[Player], stop func()) {
	ctx := context.Background()
	config, stopCluster := startCluster(ctx, name)
	game, err := client.Open(ctx, config)
	if err != nil {
		log.Fatal(err)
	}
	players, err = client.NewStore(game, "players", Player{Coins: 100})
	if err != nil {
		log.Fatal(err)
	}
	return game, players, func() {
		_ = game.Close()
		stopCluster()
	}
}

// join starts a session on Ann's profile.
func join(players *client.Store[Player]) *client.Profile[Player] {
	ann, err := players.StartSession(context.Background(), "ann")
	if err != nil {
		log.Fatal(err)
	}
	return ann
}

func ExampleOpen() {
	config, stop := startCluster(context.Background(), "game-1") // client.Config{Seeds: []string{"10.0.0.1:7400"}, TLS: ...}
	defer stop()
	config.Where = "10.0.0.5:9000" // shown to game servers that want a profile of this one
	config.OnError = func(err *client.Error) { log.Print(err) }
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	game, err := client.Open(ctx, config)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(game.Name(), game.State())
	fmt.Println(game.Close())
	// Output:
	// game-1 held
	// <nil>
}

func ExampleNewStore() {
	game, _, stop := openExample("game-1")
	defer stop()
	guilds, err := client.NewStore(game, "guilds", map[string]int{"level": 1})
	fmt.Println(guilds.Name(), err)
	// Output: guilds <nil>
}

func ExampleClient_Close() {
	game, players, stop := openExample("game-1")
	defer stop()
	_ = join(players).Update(func(d *Player) { d.Coins = 7 })
	err := game.Close() // saves the unsaved data
	var left *client.CloseError
	if errors.As(err, &left) {
		log.Printf("not saved: %v; perhaps not saved: %v", left.Unsaved, left.Unknown)
	}
	fmt.Println(err)
	// Output: <nil>
}

func ExampleClient_Shutdown() {
	game, _, stop := openExample("game-1")
	defer stop()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	cancel() // the signal
	<-ctx.Done()
	fmt.Println(game.Shutdown(ctx)) // the ended context counts as none
	// Output: <nil>
}

func ExampleClient_Drain() {
	game, players, stop := openExample("game-1")
	defer stop()
	ann := join(players)
	fmt.Println(game.Drain()) // send these players elsewhere
	if err := ann.EndSession(context.Background()); err != nil {
		log.Fatal(err)
	}
	fmt.Println(game.Drain())
	// Output:
	// [players/ann]
	// []
}

func ExampleClient_Outcome() {
	game, players, stop := openExample("game-1")
	defer stop()
	ctx := context.Background()
	if _, err := players.Set(ctx, "ann", Player{Coins: 1}, client.AtRevision(0)); errors.Is(err, client.ErrUnknown) {
		outcome, err := game.Outcome(ctx, err)
		if err != nil {
			log.Fatal(err) // not settled yet: ask again
		}
		fmt.Println(outcome.Fate, outcome.Revision)
	}
	// Output:
}

func ExampleClient_Stats() {
	game, players, stop := openExample("game-1")
	defer stop()
	join(players)
	stats := game.Stats()
	fmt.Println(stats.Sessions, stats.Failed)
	// Output: 1 0
}

func ExampleStore_StartSession() {
	game, players, stop := openExample("game-1")
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	ann, err := players.StartSession(ctx, "ann") // waits for an owner elsewhere to let go
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(ann.Key(), ann.State(), ann.Loads())
	_, err = players.StartSession(ctx, "ann", client.IfOwnedRefuse)
	fmt.Println(errors.Is(err, client.ErrAlreadyOpen), game.State())
	// Output:
	// ann held 1
	// true held
}

func ExampleStore_Get() {
	_, players, stop := openExample("game-1")
	defer stop()
	got, err := players.Get(context.Background(), "ann")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(got.Exists, got.Data.Coins, got.Owner) // not saved yet: the template
	// Output: false 100 <nil>
}

func ExampleStore_Set() {
	_, players, stop := openExample("game-1")
	defer stop()
	ctx := context.Background()
	revision, err := players.Set(ctx, "ann", Player{Coins: 5}, client.AtRevision(0)) // 0: never saved
	fmt.Println(revision, err)
	_, err = players.Set(ctx, "ann", Player{Coins: 9}, client.AtRevision(0))
	fmt.Println(errors.Is(err, client.ErrConflict))
	revision, err = players.Set(ctx, "ann", Player{Coins: 9}, client.AnyRevision())
	fmt.Println(revision, err)
	// Output:
	// 1 <nil>
	// true
	// 2 <nil>
}

func ExampleStore_List() {
	_, players, stop := openExample("game-1")
	defer stop()
	ctx := context.Background()
	for _, key := range []string{"eu/bob", "eu/ann", "us/cid"} {
		if _, err := players.Set(ctx, key, Player{}, client.AtRevision(0)); err != nil {
			log.Fatal(err)
		}
	}
	for info, err := range players.List(ctx, "eu/") {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(info.Key, info.Revision)
	}
	// Output:
	// eu/ann 1
	// eu/bob 1
}

func ExampleStore_Remove() {
	_, players, stop := openExample("game-1")
	defer stop()
	ctx := context.Background()
	if _, err := players.Set(ctx, "ann", Player{}, client.AtRevision(0)); err != nil {
		log.Fatal(err)
	}
	fmt.Println(players.Remove(ctx, "ann", client.AtRevision(1)))
	// Output: <nil>
}

func ExampleDropMessages() {
	_, players, stop := openExample("game-1")
	defer stop()
	ctx := context.Background()
	if _, err := players.Set(ctx, "ann", Player{}, client.AtRevision(0)); err != nil {
		log.Fatal(err)
	}
	if _, err := players.Send(ctx, "ann", "a gift"); err != nil {
		log.Fatal(err)
	}
	err := players.Remove(ctx, "ann", client.AtRevision(1))
	fmt.Println(errors.Is(err, client.ErrConflict))
	fmt.Println(players.Remove(ctx, "ann", client.AtRevision(1), client.DropMessages()))
	// Output:
	// true
	// <nil>
}

func ExampleProfile_Update() {
	_, players, stop := openExample("game-1")
	defer stop()
	ann := join(players)
	err := ann.Update(func(d *Player) { d.Coins -= 30 }) // the changes of one function are saved together
	ann.Read(func(d *Player) { fmt.Println(d.Coins, err) })
	// Output: 70 <nil>
}

func ExampleProfile_Read() {
	_, players, stop := openExample("game-1")
	defer stop()
	coins := 0
	join(players).Read(func(d *Player) { coins = d.Coins })
	fmt.Println(coins)
	// Output: 100
}

func ExampleProfile_Save() {
	_, players, stop := openExample("game-1")
	defer stop()
	ann := join(players)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := ann.Save(ctx); err != nil { // a purchase: do not wait for the autosave
		log.Fatal(err)
	}
	fmt.Println(ann.Revision())
	// Output: 1
}

func ExampleProfile_EndSession() {
	_, players, stop := openExample("game-1")
	defer stop()
	ann := join(players)
	if err := ann.EndSession(context.Background()); err != nil {
		log.Fatal(err)
	}
	<-ann.Done()
	fmt.Println(ann.State(), ann.Err())
	// Output: over <nil>
}

func ExampleProfile_IsActive() {
	_, players, stop := openExample("game-1")
	defer stop()
	ann := join(players)
	if ann.IsActive() { // ask right before an act that cannot be undone
		fmt.Println("trade")
	}
	// Output: trade
}

func ExampleProfile_OnSave() {
	_, players, stop := openExample("game-1")
	defer stop()
	ann := join(players)
	stopCounting := ann.OnSave(func(d *Player) { d.Items = append(d.Items, "saved") })
	defer stopCounting()
	_ = ann.Save(context.Background())
	ann.Read(func(d *Player) { fmt.Println(d.Items) })
	// Output: [saved]
}

func ExampleProfile_OnLastSave() {
	_, players, stop := openExample("game-1")
	defer stop()
	ann := join(players)
	ann.OnLastSave(func(d *Player, reason client.LastSaveReason) {
		fmt.Println(reason == client.LastSaveManual)
		d.Items = nil // items do not outlive a session
	})
	_ = ann.EndSession(context.Background())
	// Output: true
}

func ExampleProfile_OnAfterSave() {
	_, players, stop := openExample("game-1")
	defer stop()
	ann := join(players)
	saves := make(chan client.Saved, 8)
	ann.OnAfterSave(func(saved client.Saved) { saves <- saved }) // failed ones too: Err
	_ = ann.Save(context.Background())
	saved := <-saves
	fmt.Println(saved.Ref, saved.Revision, saved.Err)
	// Output: players/ann 1 <nil>
}

func ExampleProfile_OnSessionEnd() {
	_, players, stop := openExample("game-1")
	defer stop()
	ann := join(players)
	ends := make(chan client.End, 1)
	ann.OnSessionEnd(func(end client.End) { ends <- end })
	_ = ann.EndSession(context.Background())
	end := <-ends
	fmt.Println(end.Reason, end.Unsaved, end.Err)
	// Output: ended by the game false <nil>
}

func ExampleProfile_Try() {
	_, players, stop := openExample("game-1")
	defer stop()
	ann := join(players)
	err := ann.Try(func(d *Player) error {
		d.Items = append(d.Items, "sword")
		if d.Coins -= 500; d.Coins < 0 {
			return errors.New("too expensive")
		}
		return nil
	})
	ann.Read(func(d *Player) { fmt.Println(err, d.Coins, d.Items) }) // as it was
	// Output: too expensive 100 []
}
