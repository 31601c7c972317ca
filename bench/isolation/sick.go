package isolation

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/profilenode/profilenode/bench/measure"
	"github.com/profilenode/profilenode/client"
)

const (
	sickBytes = 6 << 20
	sickPause = time.Second // between two attempts of the game to save a sick profile
)

// sickData is the data of the sick profiles.
type sickData struct {
	Text   string  `json:"text"`
	Number float64 `json:"number"`
}

// sickProfiles are profiles of a game server that cannot be saved, each for a reason of its own.
type sickProfiles struct {
	store   *client.Store[sickData]
	round   int // each round has profiles of its own
	stop    context.CancelFunc
	free    chan struct{} // closed to release the lock
	working sync.WaitGroup
	seen    [sickKinds]atomic.Uint64
}

const (
	sickLocked = iota // its lock is held by the game
	sickLarge
	sickNaN
	sickPanics
	sickKinds
)

var sickNames = [sickKinds]string{"saves held up by the game's own lock", "saves too large", "saves not encodable", "sessions ended by a panic"}

// sickCounts counts the symptoms of each kind.
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

// startSickProfiles opens the sick profiles. The game goes on saving them, as games do.
func startSickProfiles(ctx context.Context, c *client.Client, round int) (*sickProfiles, error) {
	store, err := client.NewStore(c, "sick", sickData{})
	if err != nil {
		return nil, err
	}
	life, stop := context.WithCancel(ctx)
	s := &sickProfiles{store: store, round: round, stop: stop, free: make(chan struct{})}
	var profiles [sickKinds]*client.Profile[sickData]
	for i, name := range []string{"locked", "large", "nan"} {
		if profiles[i], err = store.StartSession(ctx, s.keyOf(name)); err != nil {
			close(s.free)
			stop()
			return nil, err
		}
	}
	locked := make(chan struct{})
	s.working.Go(func() {
		_ = profiles[sickLocked].Update(func(*sickData) {
			close(locked)
			<-s.free
		})
	})
	<-locked
	_ = profiles[sickLarge].Update(func(d *sickData) { d.Text = strings.Repeat("x", sickBytes) })
	_ = profiles[sickNaN].Update(func(d *sickData) { d.Number = math.NaN() })
	s.keepSaving(life, sickLocked, profiles[sickLocked], client.ErrUnknown)
	s.keepSaving(life, sickLarge, profiles[sickLarge], client.ErrInvalid)
	s.keepSaving(life, sickNaN, profiles[sickNaN], client.ErrInvalid)
	s.working.Go(func() { s.keepPanicking(life) })
	return s, nil
}

func (s *sickProfiles) keyOf(name string) string { return fmt.Sprintf("%s-%d", name, s.round) }

// keepSaving saves a profile again and again, and counts the expected errors. Of the profile whose lock is held many saves
// wait at a time, as when a game calls Save each second.
func (s *sickProfiles) keepSaving(ctx context.Context, kind int, p *client.Profile[sickData], want error) {
	s.working.Go(func() {
		for ; ctx.Err() == nil; measure.Sleep(ctx, sickPause) {
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
	for ; ctx.Err() == nil; measure.Sleep(ctx, sickPause) {
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

// endAndCount lets the sick profiles get well, and returns the symptoms seen.
func (s *sickProfiles) endAndCount() (counts sickCounts) {
	s.stop()
	close(s.free)
	s.working.Wait()
	for i := range counts {
		counts[i] = s.seen[i].Load()
	}
	return counts
}
