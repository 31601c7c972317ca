package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/profilenode/profilenode/client"
)

// perClient is how many writers share a registration: a registration may have 1,024 requests unsettled.
const perClient = 64

// fillOptions is what to fill a store with.
type fillOptions struct {
	client   client.Config // seeds, and how to reach them
	store    string
	from     uint64 // number of the first profile
	profiles uint64 // profiles from number 0
	bytes    int
	parallel int
}

// fillResult is what came of it.
type fillResult struct {
	Store   string         `json:"store"`
	From    uint64         `json:"from"`
	Next    uint64         `json:"next"`    // every profile below is there; the number to go on from
	Written uint64         `json:"written"` // set by this run
	There   uint64         `json:"there"`   // had been there before
	Bytes   int            `json:"bytes"`   // of each
	Seconds float64        `json:"seconds"`
	Rate    float64        `json:"profiles_per_second"`
	Set     latencyFigures `json:"set"`
}

func fillCommand() *cobra.Command {
	var f fillOptions
	var asJSON bool
	command := &cobra.Command{
		Use:   "fill",
		Short: "fill a store with profiles",
		Long: `fill sets profiles player-000000000, player-000000001, ... that are not there yet, each JSON of the given size, and shows
how far it is. Stopped, it says what to go on from; profiles that are there already are left as they are, so that it may
also just be started again.`,
		Example: `  go run ./bench fill --addr 127.0.0.1:7400 --store fill --profiles 1000000 --bytes 2048`,
		Args:    cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			done, err := fillProfiles(command.Context(), f, &progressLog{to: os.Stderr})
			if asJSON {
				err = errors.Join(err, json.NewEncoder(os.Stdout).Encode(done))
			} else {
				fmt.Printf("%d profiles set, %d were there, in %.0f s: %.0f a second\n", done.Written, done.There, done.Seconds, done.Rate)
			}
			if err != nil {
				return fmt.Errorf("fill: %w (go on with --from %d)", err, done.Next)
			}
			return nil
		},
	}
	flags := command.Flags()
	flags.StringSliceVar(&f.client.Seeds, "addr", []string{"127.0.0.1:7400"}, "client `addresses` of some nodes")
	flags.BoolVar(&f.client.Insecure, "insecure", false, "speak in the clear also to other machines")
	flags.StringVar(&f.store, "store", "fill", "store to fill")
	flags.Uint64Var(&f.profiles, "profiles", 1_000_000, "profiles that the store is to hold")
	flags.IntVar(&f.bytes, "bytes", 2048, "size of each, at least 256")
	flags.Uint64Var(&f.from, "from", 0, "number of the first profile to set")
	flags.IntVar(&f.parallel, "parallel", 256, "how many are set at once")
	flags.BoolVar(&asJSON, "json", false, "print what came of it as JSON")
	return command
}

func (f fillOptions) validate() error {
	switch {
	case f.bytes < 256:
		return fmt.Errorf("profiles of %d bytes: they have at least 256", f.bytes)
	case f.parallel < 1:
		return fmt.Errorf("%d at once: it takes at least one", f.parallel)
	case f.from > f.profiles:
		return fmt.Errorf("start at number %d of %d profiles: it is behind the last", f.from, f.profiles)
	}
	return nil
}

// fillProfiles sets the profiles that are not there yet. What is filled in is true also with an error.
func fillProfiles(ctx context.Context, f fillOptions, p *progressLog) (fillResult, error) {
	done := fillResult{Store: f.store, From: f.from, Next: f.from, Bytes: f.bytes}
	if err := f.validate(); err != nil {
		return done, err
	}
	var stores []*client.Store[json.RawMessage]
	for range (f.parallel + perClient - 1) / perClient {
		config := f.client
		config.Where, config.Autosave = "bench fill", -1
		c, err := client.Open(ctx, config)
		if err != nil {
			return done, err
		}
		defer closeClient(c)
		store, err := client.NewStore(c, f.store, json.RawMessage("{}"))
		if err != nil {
			return done, err
		}
		stores = append(stores, store)
	}

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		set            latencyHistogram
		next           atomic.Uint64
		written, there atomic.Uint64
		at             = make([]atomic.Uint64, f.parallel) // what each is busy with: all below the least of them is there
		writers        sync.WaitGroup
	)
	next.Store(f.from)
	for i := range at {
		at[i].Store(f.profiles) // with nothing, as long as it has taken no number
	}
	began := time.Now()
	for i := range f.parallel {
		writers.Go(func() {
			store := stores[i/perClient]
			for ctx.Err() == nil {
				number := next.Add(1) - 1
				at[i].Store(min(number, f.profiles))
				if number >= f.profiles {
					return
				}
				data := makeBody(number, 0, f.bytes)
				start := time.Now()
				_, err := store.Set(ctx, profileKey(number), data, client.AtRevision(0))
				switch {
				case err == nil:
					set.addSample(time.Since(start))
					written.Add(1)
				case errors.Is(err, client.ErrConflict):
					there.Add(1)
				default:
					cancel(err)
					return
				}
			}
		})
	}
	finished := make(chan struct{})
	go func() {
		writers.Wait()
		close(finished)
	}()
	p.reportUntil(finished, &set, func() (uint64, uint64) { return f.from + written.Load() + there.Load(), f.profiles })

	done.Written, done.There = written.Load(), there.Load()
	done.Next = min(f.profiles, next.Load())
	for i := range at {
		done.Next = min(done.Next, at[i].Load())
	}
	done.Seconds = time.Since(began).Seconds()
	done.Rate = float64(done.Written) / done.Seconds
	done.Set = set.figures()
	if done.Written+done.There == f.profiles-f.from {
		return done, nil
	}
	return done, context.Cause(ctx)
}

// closeLimit bounds a goodbye; when it is lost the lease ends the registration as well.
const closeLimit = 5 * time.Second

func closeClient(c *client.Client) {
	ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
	defer cancel()
	_ = c.Shutdown(ctx)
}

// progressLog shows how far something is, a line a step.
type progressLog struct {
	to    io.Writer
	every time.Duration // 0: 5 s
}

// reportUntil shows lines until finished is closed. far says how much is done of how much.
func (p *progressLog) reportUntil(finished <-chan struct{}, took *latencyHistogram, far func() (done, of uint64)) {
	every := p.every
	if every == 0 {
		every = 5 * time.Second
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	last, _ := far()
	began := time.Now()
	first := last
	for {
		select {
		case <-finished:
			return
		case <-tick.C:
		}
		done, of := far()
		left := "?"
		if done > first {
			left = (time.Duration(float64(of-done) / float64(done-first) * float64(time.Since(began)))).Round(time.Second).String()
		}
		fmt.Fprintf(p.to, "%d of %d, %.0f a second, %s left, p50 %.1f ms, p99 %.1f ms\n",
			done, of, float64(done-last)/every.Seconds(), left, toMillis(took.quantile(0.5)), toMillis(took.quantile(0.99)))
		last = done
	}
}
