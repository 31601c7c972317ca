// Load is a game server that holds sessions and saves each of them again and again, and then says whether a save was lost. The
// test of the containers runs it beside the nodes.
//
// It saves until SIGTERM. Then it ends every session, reads every profile back, and prints one line of JSON: how many saves were
// acknowledged, how many profiles are not as they must be, and how many sessions ended before it ended them. It exits with 1 if one
// was lost or dropped. While it runs it prints one line a second with the saves so far, so that its watcher sees it go on.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/profilenode/profilenode/client"
)

type player struct{ Saves int }

// report is the last line.
type report struct {
	Sessions int      `json:"sessions"`
	Saves    int64    `json:"saves"`
	Longest  float64  `json:"longest_save_seconds"`
	Faults   []string `json:"faults"`
}

// load is one run.
type load struct {
	players *client.Store[player]
	every   time.Duration
	saves   atomic.Int64
	longest atomic.Int64 // nanoseconds

	mu     sync.Mutex
	faults []string
}

func main() {
	sessions := flag.Int("sessions", 100, "how many profiles to hold")
	every := flag.Duration("every", time.Second, "between two saves of a profile")
	flag.Parse()
	if err := run(*sessions, *every); err != nil {
		log.Fatal(err)
	}
}

func run(sessions int, every time.Duration) error {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer cancel()
	secure, err := client.LoadTLS(os.Getenv("PROFILENODE_TLS_CERT"), os.Getenv("PROFILENODE_TLS_KEY"), os.Getenv("PROFILENODE_TLS_CA"))
	if err != nil {
		return err
	}
	game, err := client.Open(ctx, client.Config{Seeds: strings.Split(os.Getenv("PROFILENODE_ADDR"), ","), TLS: secure, Name: "load"})
	if err != nil {
		return err
	}
	players, err := client.NewStore(game, "load", player{})
	if err != nil {
		return err
	}
	l := &load{players: players, every: every}
	go l.printProgress(ctx)
	var running sync.WaitGroup
	for i := range sessions {
		running.Go(func() { l.play(ctx, fmt.Sprintf("player-%03d", i)) })
	}
	running.Wait()
	if err := game.Close(); err != nil {
		l.addFault("close: %v", err)
	}
	text, err := json.Marshal(report{sessions, l.saves.Load(), time.Duration(l.longest.Load()).Seconds(), l.faults})
	if err != nil {
		return err
	}
	fmt.Println(string(text))
	if len(l.faults) > 0 {
		os.Exit(1)
	}
	return nil
}

func (l *load) addFault(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults = append(l.faults, fmt.Sprintf(format, args...))
}

func (l *load) printProgress(ctx context.Context) {
	for tick := time.NewTicker(time.Second); ctx.Err() == nil; <-tick.C {
		fmt.Println("saves", l.saves.Load())
	}
}

// play holds one profile until ctx ends, and then checks that it holds what was acknowledged.
func (l *load) play(ctx context.Context, key string) {
	patient, cancel := context.WithTimeout(context.WithoutCancel(ctx), 15*time.Minute)
	defer cancel()
	profile, err := l.players.StartSession(patient, key)
	if err != nil {
		l.addFault("%s: %v", key, err)
		return
	}
	first := 0
	profile.Read(func(p *player) { first = p.Saves })
	tried, acknowledged := first, first
	for ctx.Err() == nil {
		if err := profile.Update(func(p *player) { p.Saves++; tried = p.Saves }); err != nil {
			l.addFault("%s: its session ended: %v", key, profile.Err())
			break
		}
		began := time.Now()
		if err := profile.Save(patient); err == nil {
			acknowledged = tried
			l.saves.Add(1)
			l.noteTime(time.Since(began))
		}
		select {
		case <-ctx.Done():
		case <-profile.Done():
		case <-time.After(l.every):
		}
	}
	if err := profile.EndSession(patient); err != nil {
		l.addFault("%s: end its session: %v", key, err)
	} else {
		acknowledged = tried
	}
	stored, err := l.players.Get(patient, key)
	if err != nil {
		l.addFault("%s: read it back: %v", key, err)
		return
	}
	if got := stored.Data.Saves; got < acknowledged || got > tried {
		l.addFault("%s: it holds save %d, acknowledged was %d, tried %d", key, got, acknowledged, tried)
	}
}

func (l *load) noteTime(took time.Duration) {
	for {
		longest := l.longest.Load()
		if int64(took) <= longest || l.longest.CompareAndSwap(longest, int64(took)) {
			return
		}
	}
}
