package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/profilenode/profilenode/client"
)

const (
	sickBytes = 6 << 20
	sickPause = time.Second // between two attempts of the game to save a sick profile
)

// sickData is what the sick profiles hold.
type sickData struct {
	Text   string  `json:"text"`
	Number float64 `json:"number"`
}

// sickProfiles are profiles of a game server that cannot be saved, each for a reason of its own.
type sickProfiles struct {
	store   *client.Store[sickData]
	round   int // each has profiles of its own
	stop    context.CancelFunc
	free    chan struct{} // closed to let go of the lock
	working sync.WaitGroup
	seen    [sickKinds]atomic.Uint64
}

const (
	sickStuck = iota // its lock is held by the game
	sickLarge
	sickNaN
	sickPanics
	sickKinds
)

var sickNames = [sickKinds]string{"saves held up by the game's own lock", "saves too large", "saves not encodable", "sessions ended by a panic"}

// sickCounts is what was seen of each kind.
type sickCounts [sickKinds]uint64

func (c *sickCounts) addCounts(other sickCounts) {
	for i := range c {
		c[i] += other[i]
	}
}

func (c sickCounts) missingKinds() (names []string) {
	for i, n := range c {
		if n == 0 {
			names = append(names, sickNames[i])
		}
	}
	return names
}

func (c sickCounts) String() string {
	var parts []string
	for i, n := range c {
		parts = append(parts, fmt.Sprintf("%d %s", n, sickNames[i]))
	}
	return strings.Join(parts, ", ")
}

// startSickProfiles opens the sick profiles, and lets the game go on with them as games do.
func startSickProfiles(ctx context.Context, c *client.Client, round int) (*sickProfiles, error) {
	store, err := client.NewStore(c, "sick", sickData{})
	if err != nil {
		return nil, err
	}
	life, stop := context.WithCancel(ctx)
	s := &sickProfiles{store: store, round: round, stop: stop, free: make(chan struct{})}
	var profiles [sickKinds]*client.Profile[sickData]
	for i, name := range []string{"stuck", "large", "nan"} {
		if profiles[i], err = store.StartSession(ctx, s.keyOf(name)); err != nil {
			close(s.free)
			stop()
			return nil, err
		}
	}
	locked := make(chan struct{})
	s.working.Go(func() {
		_ = profiles[sickStuck].Update(func(*sickData) {
			close(locked)
			<-s.free
		})
	})
	<-locked
	_ = profiles[sickLarge].Update(func(d *sickData) { d.Text = strings.Repeat("x", sickBytes) })
	_ = profiles[sickNaN].Update(func(d *sickData) { d.Number = math.NaN() })
	s.keepSaving(life, sickStuck, profiles[sickStuck], client.ErrUnknown)
	s.keepSaving(life, sickLarge, profiles[sickLarge], client.ErrInvalid)
	s.keepSaving(life, sickNaN, profiles[sickNaN], client.ErrInvalid)
	s.working.Go(func() { s.keepPanicking(life) })
	return s, nil
}

func (s *sickProfiles) keyOf(name string) string { return fmt.Sprintf("%s-%d", name, s.round) }

// keepSaving saves a profile again and again, and counts the errors of a kind. Many saves of the one whose lock is held wait
// at a time, as when the game calls Save each second.
func (s *sickProfiles) keepSaving(ctx context.Context, kind int, p *client.Profile[sickData], want error) {
	s.working.Go(func() {
		for ; ctx.Err() == nil; sleepUnlessDone(ctx, sickPause) {
			s.working.Go(func() {
				bounded, cancel := context.WithTimeout(ctx, 2*sickPause)
				defer cancel()
				if errors.Is(p.Save(bounded), want) {
					s.seen[kind].Add(1)
				}
			})
		}
	})
}

// keepPanicking opens a session whose handler panics at its save, again and again.
func (s *sickProfiles) keepPanicking(ctx context.Context) {
	for ; ctx.Err() == nil; sleepUnlessDone(ctx, sickPause) {
		p, err := s.store.StartSession(ctx, s.keyOf("panics"))
		if err != nil {
			continue
		}
		p.OnSave(func(*sickData) { panic("a fault in the game") })
		select {
		case <-p.Done(): // by the autosave of a profile that is new
			s.seen[sickPanics].Add(1)
		case <-ctx.Done():
		}
	}
}

// endAndCount lets the sick profiles get well, and says what was seen of them.
func (s *sickProfiles) endAndCount() (counts sickCounts) {
	s.stop()
	close(s.free)
	s.working.Wait()
	for i := range counts {
		counts[i] = s.seen[i].Load()
	}
	return counts
}
