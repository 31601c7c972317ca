package sim

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	seeds      = flag.Int("seeds", 25, "how many seeds TestSeeds runs")
	from       = flag.Uint64("from", 1, "the first seed of TestSeeds")
	nemesisFor = flag.Duration("nemesis", 30*time.Second, "how long TestSeeds lets faults follow each other, in virtual time")
	workers    = flag.Int("workers", min(2, runtime.GOMAXPROCS(0)), "how many seeds TestSeeds runs at a time")
)

// stuck is how long one seed may take in real time. Virtual time stands still where a goroutine waits for a mutex whose
// holder waits, and where a goroutine tries again and again without waiting.
const stuck = 3 * time.Minute

// TestSeeds runs random faults, a few seeds of them. To run many:
//
//	go test ./internal/sim -run TestSeeds -seeds 10000 -from 1 -timeout 0
func TestSeeds(t *testing.T) {
	count := uint64(*seeds)
	var total tally
	var next atomic.Uint64
	began := time.Now()
	t.Run("all", func(t *testing.T) {
		for i := range *workers {
			t.Run(fmt.Sprint("worker ", i), func(t *testing.T) {
				t.Parallel()
				for at := next.Add(1) - 1; at < count; at = next.Add(1) - 1 {
					seed := *from + at
					again := fmt.Sprintf("go test ./internal/sim -run 'TestSeeds$' -seeds 1 -from %d -nemesis %v", seed, *nemesisFor)
					var world atomic.Pointer[World]
					watch := time.AfterFunc(stuck, func() {
						debug.SetTraceback("all")
						panic(fmt.Sprintf("seed %d stands still for %v\n%sagain: %s\n", seed, stuck, soFar(world.Load()), again))
					})
					r := runWorld(t, seed, scenarioOf(seed), func(w *World) {
						world.Store(w)
						w.RunNemesis(2+int(seed%13)/4, *nemesisFor)
					})
					watch.Stop()
					if len(r.Violations) > 0 {
						t.Error(r.String(again))
						if count > 100 {
							fmt.Fprintln(os.Stderr, r.String(again))
						}
					}
					if done := total.add(r); done%100 == 0 {
						fmt.Fprintf(os.Stderr, "%d of %d seeds in %v: %v\n", done, count, time.Since(began).Round(time.Second), &total)
					}
				}
			})
		}
	})
	t.Logf("%d seeds in %v: %v", count, time.Since(began).Round(time.Second), &total)
	if total.sessions < count || total.saves < count || total.faults < count || count > 10 && total.unknown == 0 {
		t.Errorf("%v is hardly anything for %d seeds: they show nothing", &total, count)
	}
	for _, a := range faultKinds {
		if n := total.struck[a.name]; n == 0 && count >= 25 {
			t.Errorf("in %d seeds there was no fault of the kind: %s", count, a.name)
		} else {
			t.Logf("%6d times: %s", n, a.name)
		}
	}
	if n := total.struck[namesBefore]; n == 0 && count >= 25 {
		t.Errorf("in %d seeds no registration named the incarnation before it", count)
	} else {
		t.Logf("%6d times: %s", n, namesBefore)
	}
}

// soFar is the end of the log of a world that stands still, if its mutex is free.
func soFar(w *World) string {
	if w == nil || !w.mu.TryLock() {
		return ""
	}
	defer w.mu.Unlock()
	return "the log so far ends:\n" + lastLines(formatLog(w.log))
}

// scenarioOf is the scenario of a seed: a reordering proxy for some, ping ports for most, a node to come for every other,
// small pages, gossip and restarts that name the incarnation before for some, jitter and newer builds for some, large data and slow or hasty elections for a few.
func scenarioOf(seed uint64) Scenario {
	s := Scenario{ReorderingProxy: seed%5 == 0, Ping: seed%3 != 0, Spares: int(seed % 2), Walled: seed%7 == 3, Gossip: seed%4 == 1, Upgrade: seed/2%3 == 1, Replaces: seed%3 == 2}
	if seed%5 < 2 {
		s.GrantsPage = 1
	}
	switch seed % 8 {
	case 2, 6:
		s.Jitter = 3 * time.Millisecond
	case 5:
		s.Jitter = 80 * time.Millisecond
	}
	switch seed % 11 {
	case 3:
		s.Bulk, s.Nodes = 700_000, 3
	case 6:
		s.Heartbeat = 100 * time.Millisecond
	case 9:
		s.Heartbeat = time.Second
	}
	return s
}

// tally sums up the runs of all seeds.
type tally struct {
	mu                                             sync.Mutex
	done, sessions, saves, unknown, faults, failed uint64
	virtual                                        time.Duration
	struck                                         map[string]int
}

func (y *tally) add(r Report) uint64 {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.done++
	y.sessions += uint64(r.Sessions)
	y.saves += uint64(r.Saves)
	y.unknown += uint64(r.Unknown)
	y.faults += uint64(r.Faults)
	y.virtual += r.Virtual
	if y.struck == nil {
		y.struck = map[string]int{}
	}
	for act, times := range r.Struck {
		y.struck[act] += times
	}
	if len(r.Violations) > 0 {
		y.failed++
	}
	return y.done
}

func (y *tally) String() string {
	y.mu.Lock()
	defer y.mu.Unlock()
	return fmt.Sprintf("%d failed; %d sessions, %d saves acknowledged and %d unknown, %d faults, in %v of virtual time",
		y.failed, y.sessions, y.saves, y.unknown, y.faults, y.virtual.Round(time.Second))
}
