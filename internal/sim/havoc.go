package sim

import (
	"fmt"
	"sync"
	"time"
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
		h.strike()
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
	for i, n := range h.nodes {
		n.mu.Lock()
		if n.process == nil {
			down = append(down, i)
		}
		n.mu.Unlock()
	}
	return down
}

// strike does one thing.
func (h *havoc) strike() {
	draw := h.Rand
	node := draw.IntN(len(h.nodes))
	if leader := h.Leader(); leader >= 0 && draw.IntN(2) == 0 {
		node = leader
	}
	other := (node + 1 + draw.IntN(len(h.nodes)-1)) % len(h.nodes)
	a, b := h.nodes[node].name, h.nodes[other].name
	name := h.names[draw.IntN(len(h.names))]
	down := h.down()
	switch draw.IntN(25) {
	case 0:
		h.Cut(a, b)
	case 1:
		h.CutOneWay(a, b)
	case 2:
		h.CutOneWay(b, a)
	case 3:
		h.Isolate(a)
	case 4: // clients still reach it, and it nobody
		for _, n := range h.nodes {
			if n.name != a {
				h.Cut(a, n.name)
			}
		}
	case 5:
		h.Cut(name, a)
	case 6:
		h.Isolate(name)
	case 7:
		h.CutOneWay(a, name)
	case 8:
		h.Delay(a, b, upTo(draw, time.Second))
	case 9:
		h.Delay(b, a, upTo(draw, time.Second))
	case 10:
		h.Delay(a, name, upTo(draw, 3*time.Second))
	case 11:
		h.Crash(node)
	case 12:
		h.Lose(node)
	case 13:
		h.Transfer(node)
	case 14:
		h.Snapshot(node)
	case 15:
		rate := 1 / 1.2
		if draw.IntN(2) == 0 {
			rate = 1.2
		}
		if draw.IntN(2) == 0 {
			h.Skew(a, upTo(draw, time.Hour)-30*time.Minute, rate)
		} else if h.present(name) != nil {
			h.Skew(name, 0, (rate+1)/2) // two of them differ by 1.2 at most
		}
	case 16:
		h.game(name)
	case 17:
		h.stopOrWake(name)
	case 18:
		h.Release(h.profiles[draw.IntN(len(h.profiles))], draw.IntN(2) == 0, time.Second)
	default:
		for _, i := range down {
			h.Restart(i)
		}
		h.Heal()
		return
	}
	if len(down) > 0 && draw.IntN(3) > 0 {
		h.Restart(down[draw.IntN(len(down))])
	}
}

// game ends a game server's process, one way or another, and starts the next.
func (h *havoc) game(name string) {
	s := h.present(name)
	if s == nil {
		return
	}
	switch h.Rand.IntN(3) {
	case 0:
		h.fault("kill %s", s.process)
		s.Kill()
	case 1:
		h.fault("lose %s", s.process)
		s.Lose()
	default:
		s.Close(upTo(h.Rand, 5*time.Second))
	}
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
