//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/profilenode/profilenode/bench/measure"
	"github.com/profilenode/profilenode/scripts/jepsen/internal/bed"
	"github.com/profilenode/profilenode/scripts/jepsen/internal/check"
	"github.com/profilenode/profilenode/scripts/jepsen/internal/history"
	"github.com/profilenode/profilenode/scripts/jepsen/internal/report"
)

const (
	wellLimit    = 90 * time.Second // from a heal to all nodes having caught up
	finishLimit  = 40 * time.Second // for the last saves of a game server
	digestLimit  = 20 * time.Second
	stopLimit    = 30 * time.Second
	warmUpLimit  = 30 * time.Second
	shortestHold = 2 * time.Second
	longestHold  = 9 * time.Second
)

// runScenario runs one scenario and checks its history.
func (s *settings) runScenario(ctx context.Context, sc *scenario, number int, commit string, e environment, notes io.Writer) *scenarioResult {
	result := &scenarioResult{Scenario: sc.name, Skipped: sc.skipped, Validity: check.Unknown}
	at := s.settingsOf(sc, number, e)
	result.Folder = at.Folder
	began := time.Now()
	fmt.Fprintf(notes, "%s: %s\n", sc.name, at.Folder)
	err := s.play(ctx, sc, at, commit, e, result)
	result.Seconds = int(time.Since(began).Seconds())
	if err != nil {
		result.Failures = append(result.Failures, err.Error())
		result.Validity = check.Invalid
	}
	return result
}

func (s *settings) play(ctx context.Context, sc *scenario, at bed.Settings, commit string, e environment, result *scenarioResult) (err error) {
	if err := os.Mkdir(at.Folder, 0o700); err != nil {
		return fmt.Errorf("it would mix with an earlier run: %w", err)
	}
	path := filepath.Join(at.Folder, "history.jsonl")
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	began := measure.Now()
	header := history.Header{
		Seed: int64(at.Seed), Commit: commit, Environment: e.name, Scenario: sc.name, Started: time.Now(),
		Settings: map[string]string{"time": s.time.String(), "nodes": fmt.Sprint(at.Nodes), "game servers": fmt.Sprint(at.GameServers)},
	}
	events, err := history.NewWriter(file, header)
	if err != nil {
		return err
	}
	b, err := bed.Open(at, events, began)
	if err != nil {
		return err
	}
	if err := errors.Join(s.playScenario(ctx, sc, b, result), b.Close()); err != nil {
		return err
	}
	if err := s.judge(sc, b, path, result); err != nil || s.keep || result.Validity != check.Valid {
		return err
	}
	return os.RemoveAll(filepath.Join(at.Folder, bed.DataFolder)) // the nodes' data is of use only where something went wrong
}

// playScenario starts everything, injects faults until the time is over, and ends in order.
func (s *settings) playScenario(ctx context.Context, sc *scenario, b *bed.Bed, result *scenarioResult) error {
	if err := b.Start(ctx); err != nil {
		return err
	}
	if err := waitForSaves(ctx, b, warmUpLimit); err != nil {
		return fmt.Errorf("before any fault: %w", err)
	}
	for until := time.Now().Add(s.time); time.Now().Before(until) && ctx.Err() == nil; {
		if len(sc.nemeses) == 0 {
			measure.Sleep(ctx, time.Until(until))
			break
		}
		n := sc.pick(b.Random)
		length := shortestHold + time.Duration(b.Random.Int64N(int64(longestHold-shortestHold)))
		if err := n.Inject(ctx, b, length); err != nil {
			return err
		}
		result.countFault(n.Name)
		if err := b.WaitUntilWell(ctx, wellLimit); err != nil {
			return fmt.Errorf("I13: after %s: %w", n.Name, err)
		}
		if err := waitForSaves(ctx, b, wellLimit); err != nil {
			return fmt.Errorf("I13: after %s: %w", n.Name, err)
		}
		measure.Sleep(ctx, time.Duration(b.Random.Int64N(int64(longestHold/2)))) // a quarter of the time is quiet
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for _, g := range b.GameServers {
		if err := g.Finish(finishLimit); err != nil {
			return err
		}
	}
	if err := b.ReadFinal(ctx); err != nil {
		return err
	}
	if err := b.CompareDigests(ctx, digestLimit); err != nil {
		return err
	}
	for _, n := range b.Nodes {
		if err := n.Stop(stopLimit); err != nil {
			return err
		}
	}
	return nil
}

// waitForSaves waits until every game server that runs has an acknowledged save more than now.
func waitForSaves(ctx context.Context, b *bed.Bed, limit time.Duration) error {
	before := map[*bed.GameServer]int64{}
	for _, g := range b.GameServers {
		before[g] = g.Saves()
	}
	for deadline := time.Now().Add(limit); ctx.Err() == nil; measure.Sleep(ctx, 10*time.Millisecond) {
		if err := b.CheckEnded(); err != nil {
			return err
		}
		waiting := ""
		for g, count := range before {
			if !g.Running() {
				return g.Finish(0) // says how it ended
			}
			if g.Saves() <= count {
				waiting = g.Name
			}
		}
		if waiting == "" {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("game server %s has no save acknowledged within %v", waiting, limit)
		}
	}
	return ctx.Err()
}

// judge checks the history.
func (s *settings) judge(sc *scenario, b *bed.Bed, path string, result *scenarioResult) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	header, events, err := history.Read(file)
	if err != nil {
		return err
	}
	bounds := map[string]time.Duration{}
	for _, n := range sc.nemeses {
		bounds[n.Name] = n.Bound
	}
	checked, err := check.Check(header, events, check.Options{Pages: filepath.Dir(path), Recovery: bounds, Minimum: s.minimum(sc)})
	if err != nil {
		return err
	}
	result.Checked, result.Validity, result.Effects = checked, checked.Validity, b.Effects()
	if err := writeArtefacts(filepath.Dir(path), header, events, checked); err != nil {
		return err
	}
	for _, n := range b.Nodes {
		for _, line := range n.Crashes() {
			result.Failures = append(result.Failures, fmt.Sprintf("%s logged %q", n.Name, line))
		}
	}
	for _, n := range sc.nemeses {
		if result.Faults[n.Name] > 0 && result.Effects[n.Effect] == 0 {
			result.Failures = append(result.Failures, fmt.Sprintf("%s had no effect: no %s were counted", n.Name, n.Effect))
		}
	}
	if len(result.Failures) > 0 {
		result.Validity = check.Invalid
	}
	return nil
}

// writeArtefacts writes what is made of the history, beside it.
func writeArtefacts(folder string, header history.Header, events []history.Event, checked *check.Result) error {
	for name, write := range map[string]func(io.Writer) error{
		"history.edn": func(w io.Writer) error { return history.WriteEDN(w, events) },
		"appends.edn": func(w io.Writer) error { return history.WriteAppendsEDN(w, events) },
		"report.html": func(w io.Writer) error {
			return report.Write(w, report.Run{Header: header, Events: events, Result: checked})
		},
	} {
		file, err := os.Create(filepath.Join(folder, name))
		if err != nil {
			return err
		}
		if err := errors.Join(write(file), file.Close()); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	return nil
}

// minimum is what a run must have done to count.
func (s *settings) minimum(sc *scenario) check.Minimum {
	m := check.Minimum{Operations: int(2 * s.time.Seconds()), Acknowledged: map[history.Action]int{history.Start: 3 * s.gameServers, history.Save: 3 * s.gameServers}}
	if len(sc.nemeses) > 0 {
		m.Faults = map[string]int{"": 1}
	}
	return m
}
