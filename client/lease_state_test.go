package client_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"google.golang.org/protobuf/proto"

	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/client/clienttest"
	"github.com/profilenode/profilenode/internal/clienthooks"
)

func TestDoubtAndResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := clienttest.Start(t)
		var doubts, resumes atomic.Int32
		config := cluster.Config("a")
		config.OnDoubt = func() { doubts.Add(1) }
		config.OnResume = func() { resumes.Add(1) }
		c := cluster.Open(t, config)
		p, err := clienttest.Store(t, c, "players", player{}).StartSession(t.Context(), "ann")
		if err != nil {
			t.Fatal(err)
		}
		cluster.Disconnect("a")
		time.Sleep(1900 * time.Millisecond)
		if got := p.State(); got != client.StateHeld {
			t.Errorf("1.9 s after the cut: got %v, want held", got)
		}
		time.Sleep(1200 * time.Millisecond)
		if got := p.State(); got != client.StateInDoubt {
			t.Errorf("3.1 s after the cut: got %v, want in doubt", got)
		}
		if err := p.Update(func(d *player) { d.Coins = 3 }); err != nil {
			t.Errorf("Update in doubt: %v", err)
		}
		time.Sleep(time.Second)
		cluster.Reconnect("a")
		until(t, "the session to be held again", p.IsActive)
		until(t, "OnDoubt and OnResume", func() bool { return doubts.Load() == 1 && resumes.Load() == 1 })
		if err := p.Save(t.Context()); err != nil {
			t.Errorf("save afterwards: %v", err)
		}
	})
}

// An answer that is not proved renews nothing, however quickly it comes.
func TestUnconfirmedAnswersDoNotRenew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town, _, p := playing(t, "n1:7400")
		town.Set(func() { town.Unconfirmed = true })
		time.Sleep(3100 * time.Millisecond)
		if got := p.State(); got != client.StateInDoubt {
			t.Errorf("after 3.1 s of unconfirmed answers: got %v, want in doubt", got)
		}
		town.Set(func() { town.Unconfirmed = false })
		until(t, "the session to be held again", p.IsActive)
	})
}

// A session that the last confirmed answer did not list is in doubt until it is looked up, whatever a node answers that has
// confirmed nothing. The owner here has been robbed, and only its leader, which is stuck, could say so.
func TestAnAnswerThatConfirmsNothingTakesNoDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town, _, p := playing(t, "n1:7400")
		time.Sleep(2 * time.Second)
		stuck := make(chan struct{})
		town.unlist(true)
		town.Set(func() {
			town.Before = func(_, method string, _ proto.Message) error {
				if method == "Get" {
					<-stuck
				}
				return nil
			}
		})
		until(t, "the doubt of the session that was not listed", func() bool { return p.State() == client.StateInDoubt })
		town.Set(func() { town.Unconfirmed = true })
		for began := time.Now(); time.Since(began) < 2500*time.Millisecond; time.Sleep(10 * time.Millisecond) {
			if p.IsActive() {
				t.Fatalf("active %v after the leader got stuck, though the last confirmed answer did not list it", time.Since(began))
			}
		}
		close(stuck)
		town.unlist(false)
		town.Set(func() { town.Unconfirmed = false })
		until(t, "the session, which is owned after all, to be held again", p.IsActive)
	})
}

func TestDoubtLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town := newTown(t, "n1:7400")
		config := town.config("a")
		config.DoubtLimit = 20 * time.Second
		store := clienttest.Store(t, town.open(t, config), "players", player{})
		p, err := store.StartSession(t.Context(), "ann")
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Update(func(d *player) { d.Coins = 1 }); err != nil {
			t.Fatal(err)
		}
		town.Lead("")
		saved := make(chan error, 1)
		go func() { saved <- p.Save(t.Context()) }()
		time.Sleep(18 * time.Second)
		if got := p.State(); got != client.StateInDoubt {
			t.Errorf("within the limit: got %v, want in doubt", got)
		}
		time.Sleep(5 * time.Second)
		if got := p.State(); got != client.StateOver {
			t.Errorf("beyond the limit: got %v, want over", got)
		}
		if err := <-saved; err == nil {
			t.Error("the save that waited: got no error")
		}
		// The cluster did not know. It is told when it is back, and the profile can be had again.
		town.Lead("n1:7400")
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if _, err := store.StartSession(ctx, "ann"); err != nil {
			t.Errorf("the next session: %v", err)
		}
	})
}

// A process that was stopped sees at its first look that it is in doubt, before any timer has run. Its clock is the
// only thing that knows.
func TestStoppedProcessIsInDoubtAtTheFirstLook(t *testing.T) {
	for name, jump := range map[string]func(time.Time) time.Time{
		"stopped":               func(now time.Time) time.Time { return now.Add(time.Minute) },
		"machine suspended":     func(now time.Time) time.Time { return setWall(now, time.Minute) },
		"and the wall set back": func(now time.Time) time.Time { return setWall(now.Add(time.Minute), -time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			cluster := clienttest.Start(t) // in real time: virtual time has no monotonic reading
			var stopped atomic.Bool
			config := cluster.Config("a")
			clienthooks.Of(&config).Now = func() time.Time {
				if stopped.Load() {
					return jump(time.Now())
				}
				return time.Now()
			}
			p, err := clienttest.Store(t, cluster.Open(t, config), "players", player{}).StartSession(t.Context(), "ann")
			if err != nil {
				t.Fatal(err)
			}
			if !p.IsActive() {
				t.Fatal("not active at the start")
			}
			stopped.Store(true)
			if got := p.State(); got != client.StateInDoubt {
				t.Errorf("first look after a minute's stop: got %v, want in doubt", got)
			}
		})
	}
}

// setWall moves the wall clock of a time and leaves its monotonic reading: package time has no way to make such a value,
// though a suspended machine does. Its first word holds the wall clock, seconds from bit 30 on.
func setWall(now time.Time, by time.Duration) time.Time {
	moved := now
	*(*uint64)(unsafe.Pointer(&moved)) += uint64(by/time.Second) << 30
	return moved
}

func TestSetWall(t *testing.T) {
	now := time.Now()
	moved := setWall(now, time.Minute)
	if inner, wall := moved.Sub(now), moved.Round(0).Sub(now.Round(0)); inner != 0 || wall != time.Minute {
		t.Fatalf("setWall moved the monotonic reading by %v and the wall clock by %v, want 0 and a minute", inner, wall)
	}
}

// A leader that is slow takes the end of a game server's last stream for the end of its process. So the stream that
// brought no answer is ended only once another one has.
func TestASlowLeaderSeesNoStreamEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town, _, p := playing(t, "n1:7400")
		slow := make(chan struct{})
		town.Set(func() {
			town.Before = func(_, method string, _ proto.Message) error {
				if method == "Live" {
					<-slow
				}
				return nil
			}
		})
		open := func() (streams, ended int) {
			for _, s := range town.Streams() {
				if streams++; s.Err() != nil {
					ended++
				}
			}
			return streams, ended
		}
		time.Sleep(6 * time.Second)
		if streams, ended := open(); streams < 2 || ended > 0 {
			t.Errorf("after 6 s without an answer: %d streams, %d of them ended, want several and none", streams, ended)
		}
		close(slow)
		until(t, "the session to be held again", p.IsActive)
		until(t, "all streams but one to end", func() bool {
			streams, ended := open()
			return ended == streams-1
		})
	})
}
