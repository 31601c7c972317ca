package sim

import (
	"fmt"
	"sync"
	"time"

	"github.com/profilenode/profilenode/client"
)

// RunNemesis lets game servers play for so long while one fault follows another.
func (w *World) RunNemesis(servers int, d time.Duration) {
	h := &nemesis{World: w, until: make(chan struct{})}
	for i := range servers {
		h.names = append(h.names, fmt.Sprint("g", i))
		h.startOrJoin(h.names[i])
	}
	for end := w.Now() + d; w.Now() < end; {
		w.Sleep(100*time.Millisecond + drawDuration(w.Rand, 2500*time.Millisecond))
		for h.injectFault(); w.Rand.IntN(6) == 0; { // faults often come together
			h.injectFault()
		}
	}
	close(h.until)
	h.joining.Wait()
}

type nemesis struct {
	*World
	names   []string
	until   chan struct{} // closed when the play ends
	joining sync.WaitGroup
}

// startOrJoin starts a game server, and tries until it is registered.
func (h *nemesis) startOrJoin(name string) {
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

// runningServer is the process of a name, if it runs.
func (h *nemesis) runningServer(name string) *Server {
	h.mu.Lock()
	s := h.servers[name]
	h.mu.Unlock()
	if s == nil || !s.isAlive() {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client == nil {
		return nil
	}
	return s
}

func (h *nemesis) stoppedNodes() (down []int) {
	for _, n := range h.joinedNodes() {
		if n.runningProcess() == nil {
			down = append(down, n.number)
		}
	}
	return down
}

// injectFault injects one fault, or heals.
func (h *nemesis) injectFault() {
	draw := h.Rand
	members := h.joinedNodes()
	node := draw.IntN(len(members))
	if leader := h.Leader(); leader >= 0 && draw.IntN(2) == 0 {
		node = leader
	}
	other := (node + 1 + draw.IntN(len(members)-1)) % len(members)
	at := target{
		node: node, a: h.nodes[node].name, b: h.nodes[other].name, game: h.names[draw.IntN(len(h.names))],
	}
	down := h.stoppedNodes()
	if draw.IntN(4) == 0 {
		for _, i := range down {
			h.Restart(i)
		}
		h.Heal()
		if draw.IntN(6) == 0 {
			h.waitBetweenFaults()
		}
		return
	}
	act := faultKinds[draw.IntN(len(faultKinds))]
	h.struck[act.name]++
	act.do(h, at)
	if len(down) > 0 && draw.IntN(3) > 0 {
		h.Restart(down[draw.IntN(len(down))])
	}
}

// wellAgain is how long recovery may take once all faults are undone: an election, the time-out of a client that has just
// lost another leader, and a renewal.
const wellAgain = 10 * time.Second

// waitBetweenFaults wakes all stopped processes, and lets time pass without faults. By its end every session of a living game
// server is held or over, and writes go through.
func (h *nemesis) waitBetweenFaults() {
	h.wakeAll()
	if h.proxy != nil {
		h.proxy.setPrompt(true)
		defer h.proxy.setPrompt(false)
	}
	h.Sleep(wellAgain)
	for _, name := range h.names {
		s := h.runningServer(name)
		if s == nil {
			continue
		}
		for key, session := range s.openSessions() {
			if session.State() == client.StateInDoubt {
				h.Complain(key, "%s is in doubt %v after all faults were undone", session.record.Writer, wellAgain)
			}
		}
		if err := s.Send(h.profiles[0], 2*time.Second); err != nil && s.isAlive() {
			h.Complain(h.profiles[0], "%s cannot write %v after all faults were undone: %v", s.process, wellAgain, err)
		}
	}
}

// endServer ends a game server's process, and starts the next.
func (h *nemesis) endServer(name, how string, act func(*Server)) {
	s := h.runningServer(name)
	if s == nil {
		return
	}
	h.logFault("%s %s", how, s.process)
	act(s)
	h.startOrJoin(name)
}

func (h *nemesis) stopOrWakeServer(name string) {
	h.mu.Lock()
	s := h.servers[name]
	stopped := s != nil && s.stopped
	h.mu.Unlock()
	switch {
	case stopped:
		h.Wake(name)
	case h.runningServer(name) != nil:
		h.Stop(name)
	}
}
