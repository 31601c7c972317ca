// Package fill fills a store with profiles. The benchmark of capacity begins with it.
package fill

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

	"github.com/profilenode/profilenode/bench/load"
	"github.com/profilenode/profilenode/bench/measure"
	"github.com/profilenode/profilenode/client"
)

// perClient is how many writers share a registration: a registration may have 1,024 requests unsettled.
const perClient = 64

// Options say what to fill a store with.
type Options struct {
	Client   client.Config // seeds, and the way to reach them
	Store    string
	From     uint64 // number of the first profile
	Profiles uint64 // profiles from number 0
	Bytes    int
	Parallel int

	Progress io.Writer
	Every    time.Duration // from one line of progress to the next
}

// Result is the result of a fill.
type Result struct {
	Store   string          `json:"store"`
	From    uint64          `json:"from"`
	Next    uint64          `json:"next"`    // every profile below exists; the number to go on from
	Written uint64          `json:"written"` // set by this run
	There   uint64          `json:"there"`   // existed before
	Bytes   int             `json:"bytes"`   // of each
	Seconds float64         `json:"seconds"`
	Rate    float64         `json:"profiles_per_second"`
	Set     measure.Figures `json:"set"`
}

// Command is "bench fill".
func Command() *cobra.Command {
	o := Options{Progress: os.Stderr, Every: 5 * time.Second}
	var asJSON bool
	command := &cobra.Command{
		Use:   "fill",
		Short: "fill a store with profiles",
		Long: `fill sets the profiles player-000000000, player-000000001, ... that do not exist yet, each JSON of the given size, and shows
its progress. When it is stopped, it says where to go on. It leaves profiles that exist as they are, so it may also be
started again from the beginning.`,
		Example: `  go run ./bench fill --addr 127.0.0.1:7400 --store fill --profiles 1000000 --bytes 2048`,
		Args:    cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			done, err := Fill(command.Context(), o)
			if asJSON {
				err = errors.Join(err, json.NewEncoder(os.Stdout).Encode(done))
			} else {
				fmt.Printf("%d profiles set, %d existed, in %.0f s: %.0f a second\n", done.Written, done.There, done.Seconds, done.Rate)
			}
			if err != nil {
				return fmt.Errorf("fill: %w (go on with --from %d)", err, done.Next)
			}
			return nil
		},
	}
	flags := command.Flags()
	flags.StringSliceVar(&o.Client.Seeds, "addr", []string{"127.0.0.1:7400"}, "client `addresses` of some nodes")
	flags.BoolVar(&o.Client.Insecure, "insecure", false, "speak in the clear also to other machines")
	flags.StringVar(&o.Store, "store", "fill", "store to fill")
	flags.Uint64Var(&o.Profiles, "profiles", 1_000_000, "profiles that the store is to hold")
	flags.IntVar(&o.Bytes, "bytes", 2048, "size of each, at least 256")
	flags.Uint64Var(&o.From, "from", 0, "number of the first profile to set")
	flags.IntVar(&o.Parallel, "parallel", 256, "how many are set at once")
	flags.BoolVar(&asJSON, "json", false, "print the result as JSON")
	return command
}

func (o Options) validate() error {
	switch {
	case o.Bytes < 256:
		return fmt.Errorf("profiles of %d bytes: they have at least 256", o.Bytes)
	case o.Parallel < 1:
		return fmt.Errorf("%d at once: it takes at least one", o.Parallel)
	case o.From > o.Profiles:
		return fmt.Errorf("start at number %d of %d profiles: it is behind the last", o.From, o.Profiles)
	}
	return nil
}

// Fill sets the profiles that do not exist yet. The result is valid also with an error.
func Fill(ctx context.Context, o Options) (Result, error) {
	done := Result{Store: o.Store, From: o.From, Next: o.From, Bytes: o.Bytes}
	if err := o.validate(); err != nil {
		return done, err
	}
	f := filling{Options: o, at: make([]atomic.Uint64, o.Parallel)}
	f.next.Store(o.From)
	for i := range f.at {
		f.at[i].Store(o.Profiles) // it has taken no number yet
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var stores []*client.Store[json.RawMessage]
	for range (o.Parallel + perClient - 1) / perClient {
		config := o.Client
		config.Where, config.Autosave = "bench fill", -1
		c, err := client.Open(ctx, config)
		if err != nil {
			return done, err
		}
		defer load.CloseClient(c)
		store, err := client.NewStore(c, o.Store, json.RawMessage("{}"))
		if err != nil {
			return done, err
		}
		stores = append(stores, store)
	}

	began := time.Now()
	var writers sync.WaitGroup
	for i := range o.Parallel {
		writers.Go(func() {
			if err := f.setProfiles(ctx, stores[i/perClient], &f.at[i]); err != nil {
				cancel(err)
			}
		})
	}
	finished := make(chan struct{})
	go func() {
		writers.Wait()
		close(finished)
	}()
	f.showProgress(finished)

	done.Written, done.There = f.written.Load(), f.there.Load()
	done.Next = min(o.Profiles, f.next.Load())
	for i := range f.at {
		done.Next = min(done.Next, f.at[i].Load())
	}
	done.Seconds = time.Since(began).Seconds()
	done.Rate = float64(done.Written) / done.Seconds
	done.Set = f.set.Figures()
	if done.Written+done.There == o.Profiles-o.From {
		return done, nil
	}
	return done, context.Cause(ctx)
}

// filling is a fill under way.
type filling struct {
	Options
	set            measure.Samples
	next           atomic.Uint64
	written, there atomic.Uint64
	at             []atomic.Uint64 // the number of each writer: all below the least of them exist
}

// setProfiles is one writer, which takes one number after the other.
func (f *filling) setProfiles(ctx context.Context, store *client.Store[json.RawMessage], at *atomic.Uint64) error {
	for ctx.Err() == nil {
		number := f.next.Add(1) - 1
		at.Store(min(number, f.Profiles))
		if number >= f.Profiles {
			return nil
		}
		data := load.MakeBody(number, 0, f.Bytes)
		began := time.Now()
		_, err := store.Set(ctx, load.Key(number), data, client.AtRevision(0))
		switch {
		case err == nil:
			f.set.Add(time.Since(began))
			f.written.Add(1)
		case errors.Is(err, client.ErrConflict):
			f.there.Add(1)
		default:
			return err
		}
	}
	return nil
}

// showProgress prints lines until finished is closed.
func (f *filling) showProgress(finished <-chan struct{}) {
	count := func() uint64 { return f.From + f.written.Load() + f.there.Load() }
	tick := time.NewTicker(f.Every)
	defer tick.Stop()
	began, first := time.Now(), count()
	for last := first; ; {
		select {
		case <-finished:
			return
		case <-tick.C:
		}
		done, left := count(), "?"
		if done > first {
			left = time.Duration(float64(f.Profiles-done) / float64(done-first) * float64(time.Since(began))).Round(time.Second).String()
		}
		fmt.Fprintf(f.Progress, "%d of %d, %.0f a second, %s left\n", done, f.Profiles, float64(done-last)/f.Every.Seconds(), left)
		last = done
	}
}
