//go:build unix

// Command crash kills profilenode, cuts its power, fills its disks and lets them hang, until an acknowledged save is lost or the
// rounds are over.
//
//	go run ./scripts/crash --kills 300 --power 60 --full 20 --hang 6
//
// It runs three nodes as processes, under writers that save without a pause, with frequent snapshots and cuts of the log. A
// round takes nodes down, brings them back, waits until every node has caught up, and reads back every acknowledged save. The
// run ends with exit code 1 at the first loss, and then keeps the data folders.
//
// Power is cut by shutting an ext4 file system down under paused processes, so that bytes which were not synced are lost. That
// needs root and loop devices. Processes are paused first, since a sync that is under way may be reported as done. A disk is
// filled by a file beside the data folder: until less than the node's reserve is free, or to the last byte.
// A disk hangs while its file system is frozen (fsfreeze).
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/profilenode/profilenode/internal/nodeproc"
	"github.com/profilenode/profilenode/scripts/internal/disks"
)

type crashSettings struct {
	kills, power, full, hang, writers int
	seed                              uint64
	quick, json                       bool
	program, folder                   string
	caughtUp                          time.Duration
}

// runResult is the result of a run, as it is printed at the end.
type runResult struct {
	Seed         uint64              `json:"seed"`
	Kills        int                 `json:"kills"`
	Power        int                 `json:"power"`
	Full         int                 `json:"full"`
	Hang         int                 `json:"hang"`
	Hangs        hangTimes           `json:"hangs"`
	Acts         map[string]int      `json:"acts"`
	Hits         map[crashMoment]int `json:"hits"`     // moments at which nodes ended
	Filled       int                 `json:"filled"`   // disks
	Ends         map[exitKind]int    `json:"ends"`     // causes for which nodes on full disks stopped
	StoodMS      int64               `json:"stood_ms"` // the longest time without an acknowledged save while one disk was full
	Acknowledged int                 `json:"acknowledged"`
	Installs     int                 `json:"installs"`
	Snapshots    int                 `json:"snapshots"`
	Digests      int                 `json:"digests"`
	SlowestMS    int64               `json:"slowest_ms"` // from all nodes being started to all having caught up
	Slowest      string              `json:"slowest"`    // the act before that
	Seconds      int                 `json:"seconds"`
	Lost         string              `json:"lost"` // the failure; empty: none
}

func main() {
	s := crashSettings{}
	flag.IntVar(&s.kills, "kills", 300, "rounds that kill processes")
	flag.IntVar(&s.power, "power", 60, "rounds that cut the power; needs root and loop devices")
	flag.IntVar(&s.full, "full", 20, "rounds that fill disks; needs root and loop devices")
	flag.IntVar(&s.hang, "hang", 6, "rounds in which a leader's disk hangs; needs root and loop devices")
	flag.IntVar(&s.writers, "writers", 6, "writers, each with profiles of its own")
	flag.Uint64Var(&s.seed, "seed", uint64(time.Now().UnixNano()), "of everything that is chosen by chance")
	flag.BoolVar(&s.quick, "quick", false, "10 kills, 3 power losses, 8 fillings and 2 hangs of disks, where their flags do not say otherwise; kills alone where power cannot be cut")
	flag.BoolVar(&s.json, "json", false, "print the result as JSON")
	flag.StringVar(&s.program, "program", "", "a profilenode that is built already")
	flag.StringVar(&s.folder, "folder", filepath.Join(os.TempDir(), "profilenode-crash"), "data and logs; leftovers of an earlier run there are removed")
	flag.DurationVar(&s.caughtUp, "caught-up", 60*time.Second, "how long nodes may take to catch up")
	flag.Parse()
	if s.quick {
		given := map[string]bool{}
		flag.Visit(func(f *flag.Flag) { given[f.Name] = true })
		if !given["kills"] {
			s.kills = 10
		}
		if !given["power"] {
			s.power = 3
		}
		if !given["full"] {
			s.full = len(diskActs())
		}
		if !given["hang"] {
			s.hang = len(hangActs())
		}
	}
	if err := runCrashes(s); err != nil {
		fmt.Fprintf(os.Stderr, "crash: %v\n", err)
		os.Exit(1)
	}
}

// checkDisks tries whether power can be cut and disks can be filled and frozen here. A quick run goes without what cannot be
// done.
func (s *crashSettings) checkDisks() error {
	if s.power+s.full+s.hang > 0 {
		switch err := disks.Probe(); {
		case err != nil && s.quick:
			const said = "\n*** NO POWER IS CUT, NO DISK IS FILLED, NONE HANGS: it cannot be done here: %v. Kills only. ***\n\n"
			fmt.Fprintf(os.Stderr, said, err)
			s.power, s.full, s.hang = 0, 0, 0
		case err != nil:
			const said = "power cannot be cut and disks cannot be filled here: %w; --power 0 --full 0 --hang 0 goes without"
			return fmt.Errorf(said, err)
		}
	}
	if s.hang > 0 {
		switch err := disks.ProbeFreeze(); {
		case err != nil && s.quick:
			fmt.Fprintf(os.Stderr, "\n*** NO DISK HANGS: it cannot be frozen here: %v. ***\n\n", err)
			s.hang = 0
		case err != nil:
			return fmt.Errorf("disks cannot be frozen here: %w; --hang 0 goes without", err)
		}
	}
	return nil
}

func runCrashes(s crashSettings) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	fmt.Fprintf(os.Stderr, "seed %d\n", s.seed)
	if err := s.checkDisks(); err != nil {
		return err
	}
	home, err := filepath.Abs(s.folder)
	if err != nil {
		return err
	}
	unlock, err := takeFolder(home)
	if err != nil {
		return err
	}
	defer unlock()
	if s.program == "" {
		if s.program, err = nodeproc.Build(ctx, home); err != nil {
			return err
		}
	}
	c, err := startCluster(s, home)
	if err != nil {
		return err
	}
	t := &crashRun{settings: s, cluster: c, random: rand.New(rand.NewPCG(s.seed, 0)), began: time.Now()}
	t.result = runResult{Seed: s.seed, Acts: map[string]int{}, Hits: map[crashMoment]int{}, Ends: map[exitKind]int{}}
	err = t.runRounds(ctx)
	if ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	err = errors.Join(err, c.closeCluster())
	t.printResult(err)
	if err != nil {
		fmt.Fprintf(os.Stderr, "data and logs stay in %s until the next run\n", home)
		return err
	}
	return clearAway(home)
}

func (t *crashRun) printResult(err error) {
	v := &t.result
	v.Seconds = int(time.Since(t.began).Seconds())
	if t.writers != nil {
		v.Acknowledged = int(t.writers.acked.Load())
	}
	v.Installs, v.Snapshots = t.cluster.countSnapshots()
	if err != nil {
		v.Lost = err.Error()
	}
	if t.settings.json {
		_ = json.NewEncoder(os.Stdout).Encode(v) // there is no other place to report to
		return
	}
	word := "nothing lost"
	if err != nil {
		word = "FAILED"
	}
	fmt.Printf("%s: %d kills, %d power losses, %d times disks filled (%d disks), %d saves acknowledged and read back, %d installs, %d snapshots, digests equal %d times, caught up within %.1f s (after %s), %d s, seed %d\n",
		word, v.Kills, v.Power, v.Full, v.Filled, v.Acknowledged, v.Installs, v.Snapshots, v.Digests, float64(v.SlowestMS)/1000, v.Slowest, v.Seconds, v.Seed)
	fmt.Printf("acts: %v\n", v.Acts)
	if v.Full > 0 {
		fmt.Printf("on full disks nodes stopped at: %v; saves stood still for at most %.1f s while one disk was full\n", v.Ends, float64(v.StoodMS)/1000)
	}
	if v.Hang > 0 {
		fmt.Printf("a leader's disk hung in %d rounds: %v\n", v.Hang, v.Hangs)
	}
	fmt.Printf("nodes ended in:")
	for _, m := range allMoments() {
		fmt.Printf(" %s %d,", m, v.Hits[m])
	}
	fmt.Println(" all else in none of these")
}
