package sim

import (
	"flag"
	"fmt"
	"os"
	"runtime/pprof"
	"testing"
	"time"
)

var (
	seeds    = flag.Int("seeds", 0, "how many seeds TestSeeds runs; 0: as many as fit into a minute")
	havocFor = flag.Duration("havoc", 60*time.Second, "how long each goes on, in virtual time")
	from     = flag.Uint64("from", 1, "the first seed of TestSeeds")
)

func TestSeeds(t *testing.T) {
	n := *seeds
	if n == 0 {
		n = 4
	}
	for s := *from; s < *from+uint64(n); s++ {
		began := time.Now()
		r := run(t, s, Scenario{}, func(w *World) { w.Havoc(3, *havocFor) })
		fmt.Printf("seed %d: %v wall, %v virtual, %d sessions %d saves %d unknown %d faults, %d bad\n", s, time.Since(began).Round(time.Millisecond), r.Virtual.Round(time.Second), r.Sessions, r.Saves, r.Unknown, r.Faults, len(r.Violations))
		if len(r.Violations) > 0 {
			t.Error(r.String(fmt.Sprintf("go test ./internal/sim -run TestSeeds -seeds 1 -from %d", s)))
		}
	}
}

func TestMain(m *testing.M) {
	if p := os.Getenv("SIMPROF"); p != "" {
		f, _ := os.Create(p)
		pprof.StartCPUProfile(f)
		time.AfterFunc(8*time.Second, func() { pprof.StopCPUProfile(); f.Close() })
	}
	os.Exit(m.Run())
}
