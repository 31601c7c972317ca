package clienttest_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/client/clienttest"
)

// owned starts a session of "owner" with 7 coins, of which the store knows.
func owned(t *testing.T, c *clienttest.Cluster) *client.Profile[player] {
	t.Helper()
	p, err := clienttest.Store(t, c.Client(t, "owner"), "players", player{}).StartSession(t.Context(), "ann")
	if err == nil {
		err = p.Update(func(d *player) { d.Coins = 7 })
	}
	if err == nil {
		err = p.Save(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Second)
	return p
}

// next starts the next session, and says how long that took and how many coins it found.
func next(t *testing.T, c *clienttest.Cluster) (took time.Duration, coins int) {
	t.Helper()
	heir := c.Client(t, "heir")
	began := time.Now()
	p, err := clienttest.Store(t, heir, "players", player{}).StartSession(t.Context(), "ann", client.IfOwnedWait)
	if err != nil {
		t.Fatal(err)
	}
	took = time.Since(began)
	p.Read(func(d *player) { coins = d.Coins })
	return took, coins
}

// An operator that asks gets the last save of a living owner with it.
func TestAnOperatorAsksAnOwnerToLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clienttest.Start(t)
		p := owned(t, c)
		reasons := make(chan client.LastSaveReason, 1)
		ended := make(chan error, 1)
		p.OnLastSave(func(d *player, reason client.LastSaveReason) {
			d.Coins++
			reasons <- reason
		})
		p.OnSessionEnd(func(end client.End) { ended <- end.Err })
		asked := time.Now()
		if err := c.Release(t.Context(), "players", "ann", false); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; err != nil {
			t.Errorf("the session ended with %v, want nil", err)
		}
		if passed := time.Since(asked); passed > 100*time.Millisecond {
			t.Errorf("a living owner let go after %v", passed)
		}
		if got := <-reasons; got != client.LastSaveOperator {
			t.Errorf("its last save was made for %v, want operator", got)
		}
		if err := c.Release(t.Context(), "players", "ann", true); err == nil || !strings.Contains(err.Error(), "nobody owns the profile") {
			t.Errorf("released again: %v, want that it has no owner", err)
		}
		if took, coins := next(t, c); took > 100*time.Millisecond || coins != 8 {
			t.Errorf("the next session started after %v with %d coins, want at once with 8", took, coins)
		}
	})
}

func TestAnOperatorTakesAProfile(t *testing.T) {
	for _, test := range []struct {
		name        string
		mute        bool
		least, most time.Duration
	}{
		{name: "from a living owner", most: 100 * time.Millisecond},
		{name: "from a mute one", mute: true, least: 4400 * time.Millisecond, most: 5 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := clienttest.Start(t)
				p := owned(t, c)
				if err := p.Update(func(d *player) { d.Coins = 99 }); err != nil { // never saved
					t.Fatal(err)
				}
				ended := make(chan client.End, 1)
				p.OnSessionEnd(func(end client.End) { ended <- end })
				if test.mute {
					c.Disconnect("owner")
				}
				if err := c.Release(t.Context(), "players", "ann", true); err != nil {
					t.Fatal(err)
				}
				if took, coins := next(t, c); took < test.least || took > test.most || coins != 7 {
					t.Errorf("the next session started after %v with %d coins, want %v to %v with 7", took, coins, test.least, test.most)
				}
				if p.IsActive() {
					t.Error("the owner still believes in its session")
				}
				if test.mute {
					return
				}
				if end := <-ended; !errors.Is(end.Err, client.ErrSessionOver) || end.Reason != client.EndReleased || !end.Unsaved {
					t.Errorf("the session ended with %+v, want that an operator released it and that its data is unsaved", end)
				}
			})
		})
	}
}

// A game that does not come to its last save ends its session by itself, before it is revoked.
func TestAStuckOwnerThatIsAskedLetsGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clienttest.Start(t)
		p := owned(t, c)
		stuck := make(chan struct{})
		defer close(stuck)
		p.OnLastSave(func(*player, client.LastSaveReason) { <-stuck })
		asked := time.Now()
		if err := c.Release(t.Context(), "players", "ann", false); err != nil {
			t.Fatal(err)
		}
		<-p.Done()
		if passed := time.Since(asked); passed < 6*time.Second || passed > 8*time.Second {
			t.Errorf("let go after %v, want 7 s", passed)
		}
		if _, coins := next(t, c); coins != 7 {
			t.Errorf("the next session found %d coins, want 7", coins)
		}
	})
}

func TestAnOperatorReleasesWhatIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clienttest.Start(t)
		if err := c.Release(t.Context(), "nowhere", "none", true); err == nil || !strings.Contains(err.Error(), "no profile at this store and key") {
			t.Errorf("released a profile that does not exist: %v", err)
		}
	})
}
