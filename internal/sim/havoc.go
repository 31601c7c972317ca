package sim

import (
	"fmt"
	"sync"
	"time"

	"github.com/profilenode/profilenode/client"
)

// Havoc lets game servers play for so long while one fault follows another.
func (w *World) Havoc(servers int, d time.Duration) {
	h := &havoc{World: w, until: make(chan struct{})}
	for i := range servers {
		h.names = append(h.names, fmt.Sprint("g", i))
		h.join(h.names[i])
	}
	for end := w.Now() + d; w.Now() < end; {
		w.Sleep(100*time.Millisecond + upTo(w.Rand, 2500*time.Millisecond))
		for h.strike(); w.Rand.IntN(6) == 0; { // it never rains but it pours
			h.strike()
		}
	}
	close(h.until)
	h.joining.Wait()
}

type havoc struct {
	*World
	names   []string
	until   chan struct{} // closed when the play ends
	joining sync.WaitGroup
}

// join starts a game server, however long that takes.
func (h *havoc) join(name string) {
	h.joining.Go(func() {
		for {
			if s := h.Server(name, 20*time.Second); s != nil {
				s.Play(h.until)
				return
			}
			select {
			case <-h.until:
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	})
}

// present is the process of a name, if it runs.
func (h *havoc) present(name string) *Server {
	h.mu.Lock()
	s := h.servers[name]
	h.mu.Unlock()
	if s == nil || !s.alive() {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client == nil {
		return nil
	}
	return s
}

func (h *havoc) down() (down []int) {
	for _, n := range h.members() {
		n.mu.Lock()
		if n.process == nil {
			down = append(down, n.number)
		}
		n.mu.Unlock()
	}
	return down
}

// strike does one thing.
func (h *havoc) strike() {
	draw := h.Rand
	members := h.members()
	node := draw.IntN(len(members))
	if leader := h.Leader(); leader >= 0 && draw.IntN(2) == 0 {
		node = leader
	}
	other := (node + 1 + draw.IntN(len(members)-1)) % len(members)
	at := place{
		node: node, a: h.nodes[node].name, b: h.nodes[other].name, game: h.names[draw.IntN(len(h.names))],
	}
	down := h.down()
	if draw.IntN(4) == 0 {
		for _, i := range down {
			h.Restart(i)
		}
		h.Heal()
		if draw.IntN(6) == 0 {
			h.lull()
		}
		return
	}
	act := acts[draw.IntN(len(acts))]
	h.struck[act.name]++
	act.do(h, at)
	if len(down) > 0 && draw.IntN(3) > 0 {
		h.Restart(down[draw.IntN(len(down))])
	}
}

// wellAgain is how long everything may take to be well once nothing is wrong any more: an election, the patience of a client
// that has just lost another leader, and a renewal.
const wellAgain = 10 * time.Second

// lull wakes whoever stands still, and lets time pass in which nothing goes wrong. By its end every session of a living game
// server is held or over, and writes go through.
func (h *havoc) lull() {
	h.wakeAll()
	h.Sleep(wellAgain)
	for _, name := range h.names {
		s := h.present(name)
		if s == nil {
			continue
		}
		for key, session := range s.open() {
			if session.State() == client.StateInDoubt {
				h.Complain(key, "%s is in doubt %v after everything was well", session.record.Writer, wellAgain)
			}
		}
		if err := s.Send(h.profiles[0], 2*time.Second); err != nil && s.alive() {
			h.Complain(h.profiles[0], "%s cannot write %v after everything was well: %v", s.process, wellAgain, err)
		}
	}
}

// end ends a game server's process, and starts the next.
func (h *havoc) end(name, how string, act func(*Server)) {
	s := h.present(name)
	if s == nil {
		return
	}
	h.fault("%s %s", how, s.process)
	act(s)
	h.join(name)
}

func (h *havoc) stopOrWake(name string) {
	h.mu.Lock()
	s := h.servers[name]
	stopped := s != nil && s.stopped
	h.mu.Unlock()
	switch {
	case stopped:
		h.Wake(name)
	case h.present(name) != nil:
		h.Stop(name)
	}
}
