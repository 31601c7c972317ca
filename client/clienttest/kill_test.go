package clienttest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/client/clienttest"
)

// takeover starts a session that a is to lose and b waits for, and returns when b has it, and how long after a's fault.
func takeover(t *testing.T, c *clienttest.Cluster, a client.Config, fault func()) (lost *client.Profile[player], after time.Duration) {
	t.Helper()
	owner := clienttest.Store(t, c.Open(t, a), "players", player{})
	heir := clienttest.Store(t, c.Client(t, "heir"), "players", player{})
	lost, err := owner.StartSession(t.Context(), "ann")
	if err != nil {
		t.Fatal(err)
	}
	if err := lost.Update(func(d *player) { d.Coins = 7 }); err != nil {
		t.Fatal(err)
	}
	if err := lost.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(10 * time.Second)
	fault()
	at := time.Now()
	p, err := heir.StartSession(t.Context(), "ann")
	if err != nil {
		t.Fatal(err)
	}
	after = time.Since(at)
	p.Read(func(d *player) {
		if d.Coins != 7 {
			t.Errorf("the heir has %d coins, want the 7 that were saved", d.Coins)
		}
	})
	return lost, after
}

func TestKill(t *testing.T) {
	within := func(t *testing.T, got, least, most time.Duration) {
		t.Helper()
		if got < least || got > most {
			t.Errorf("taken over after %v, want %v to %v", got, least, most)
		}
	}
	t.Run("with a ping port", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := clienttest.Start(t)
			lost, after := takeover(t, c, c.Config("a"), func() { c.Kill("a") })
			within(t, after, 250*time.Millisecond, 400*time.Millisecond)
			// A process that was killed does not look. This one does, and believes for as long as it may.
			time.Sleep(3 * time.Second)
			if lost.IsActive() {
				t.Error("the killed game server still believes in its session after 3 s")
			}
		})
	})
	t.Run("without", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := clienttest.Start(t)
			config := c.Config("a")
			config.NoPing = true
			_, after := takeover(t, c, config, func() { c.Kill("a") })
			within(t, after, 3500*time.Millisecond, 5*time.Second)
		})
	})
	t.Run("cut off", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := clienttest.Start(t)
			lost, after := takeover(t, c, c.Config("a"), func() { c.Disconnect("a") })
			within(t, after, 9*time.Second, 11*time.Second)
			if lost.IsActive() {
				t.Error("the owner that was cut off believes in a session that was taken over")
			}
		})
	})
}

// A game server that is cut off for less than a lease loses nothing, also when the end of its old connections arrives before
// its new one.
func TestReconnectWithinALease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clienttest.Start(t)
		p, err := clienttest.Store(t, c.Client(t, "a"), "players", player{}).StartSession(t.Context(), "ann")
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			time.Sleep(5 * time.Second)
			c.Disconnect("a")
			time.Sleep(8 * time.Second)
			if got := p.State(); got != client.StateInDoubt {
				t.Errorf("8 s after the cut: got %v, want in doubt", got)
			}
			c.Reconnect("a")
			time.Sleep(2 * time.Second)
			if got := p.State(); got != client.StateHeld {
				t.Fatalf("2 s after the cut is healed: got %v, %v, want held", got, p.Err())
			}
		}
	})
}
