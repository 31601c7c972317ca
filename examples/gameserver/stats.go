package main

import (
	"sync"
	"time"
)

// Stand is how a bot's session stands.
type Stand uint8

const (
	Away    Stand = iota // between two players
	Joining              // waits for a session
	Held
	InDoubt
)

// Counts are totals since the start.
type Counts struct {
	Sessions     int            `json:"sessions"`      // begun
	Over         int            `json:"over"`          // ended, whoever ended them
	Moved        int            `json:"moved"`         // of these: handed over to another game server that asked
	Lost         int            `json:"lost"`          // of these: ended with changes that were not saved
	Saves        int            `json:"saves"`         // acknowledged
	GiftsSent    int            `json:"gifts_sent"`    // acknowledged
	GiftsHandled int            `json:"gifts_handled"` // by players of this game server
	GiftsTwice   int            `json:"gifts_twice"`   // offered again to a player who had them: never
	Errors       map[string]int `json:"errors"`        // by kind
}

// Stats is what the bots tell and the screen shows. Every method may be called from any goroutine.
type Stats struct {
	now func() time.Time

	mu      sync.Mutex
	began   time.Time
	counts  Counts
	seats   []func() Stand
	windows [10]window // one for each of the latest seconds
	window  int
	saves   int       // at the last Second
	acked   time.Time // when a save was last acknowledged
	longest time.Duration
	events  []Event
}

// window is how long things took in one second.
type window struct{ joins, saves Histogram }

// Event is something that a person at the screen wants to know of.
type Event struct {
	At   time.Time `json:"at"`
	Text string    `json:"text"`
}

// Second is what the screen shows once a second, and what --json prints.
type Second struct {
	At      time.Time `json:"at"`
	Runs    float64   `json:"runs_s"`
	Node    string    `json:"node"` // where saves go; empty: not known
	Held    int       `json:"held"`
	InDoubt int       `json:"in_doubt"`
	Joining int       `json:"joining"`
	Saves   int       `json:"saves_s"`     // acknowledged in this second
	P50     float64   `json:"save_p50_ms"` // of the last ten seconds, as the following
	P99     float64   `json:"save_p99_ms"`
	JoinP50 float64   `json:"join_p50_ms"` // until a session began, hand-offs included
	JoinP99 float64   `json:"join_p99_ms"`
	Bytes   uint64    `json:"bytes_s"` // of data that was saved
	Gap     float64   `json:"gap_s"`   // since the last acknowledged save
	Longest float64   `json:"longest_gap_s"`
	Total   Counts    `json:"total"`

	Seats  []Stand `json:"-"`
	Events []Event `json:"-"`
}

const maxEvents = 5

func NewStats(seats int, now func() time.Time) *Stats {
	return &Stats{
		now: now, began: now(), seats: make([]func() Stand, seats),
		counts: Counts{Errors: map[string]int{}},
	}
}

// Sit says how to see the session of a seat; nil for none.
func (s *Stats) Sit(seat int, look func() Stand) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seats[seat] = look
}

// Count changes totals.
func (s *Stats) Count(change func(*Counts)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.counts)
}

// Took counts how long a Save took until it was acknowledged.
func (s *Stats) Took(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.windows[s.window].saves.Add(d)
}

// Joined counts how long a StartSession took.
func (s *Stats) Joined(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.windows[s.window].joins.Add(d)
	s.counts.Sessions++
}

// Saved counts acknowledged saves, just now.
func (s *Stats) Saved(n int) {
	if n <= 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	s.gap(now)
	s.acked = now
	s.counts.Saves += n
}

// Failed counts an error by its kind.
func (s *Stats) Failed(kind string) {
	s.Count(func(c *Counts) { c.Errors[kind]++ })
}

// Note keeps an event for the screen.
func (s *Stats) Note(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, Event{s.now(), text})
	s.events = s.events[max(0, len(s.events)-maxEvents):]
}

// Second closes the second that has passed since the last call.
func (s *Stats) Second() Second {
	// A look asks a session, which has a lock of its own.
	s.mu.Lock()
	looks := append([]func() Stand(nil), s.seats...)
	s.mu.Unlock()
	stands := make([]Stand, len(looks))
	for i, look := range looks {
		if look != nil {
			stands[i] = look()
		}
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	second := Second{
		At: now, Runs: now.Sub(s.began).Seconds(), Seats: stands,
		Saves: s.counts.Saves - s.saves, Gap: s.gap(now).Seconds(), Longest: s.longest.Seconds(),
		Total: s.counts, Events: append([]Event(nil), s.events...),
	}
	second.Total.Errors = make(map[string]int, len(s.counts.Errors))
	for kind, n := range s.counts.Errors {
		second.Total.Errors[kind] = n
	}
	for _, stand := range stands {
		switch stand {
		case Held:
			second.Held++
		case InDoubt:
			second.InDoubt++
		case Joining:
			second.Joining++
		}
	}
	var all window
	for i := range s.windows {
		all.joins.Merge(&s.windows[i].joins)
		all.saves.Merge(&s.windows[i].saves)
	}
	second.P50, second.P99 = milliseconds(all.saves.Quantile(0.50)), milliseconds(all.saves.Quantile(0.99))
	second.JoinP50, second.JoinP99 = milliseconds(all.joins.Quantile(0.50)), milliseconds(all.joins.Quantile(0.99))
	s.saves = s.counts.Saves
	s.window = (s.window + 1) % len(s.windows)
	s.windows[s.window] = window{}
	return second
}

// gap is the time since the last acknowledged save, and remembers the longest. It counts from the first one.
func (s *Stats) gap(now time.Time) time.Duration {
	if s.acked.IsZero() {
		return 0
	}
	gap := now.Sub(s.acked)
	s.longest = max(s.longest, gap)
	return gap
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
