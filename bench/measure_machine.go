package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// measureMachine says what this machine gives just now, which every figure here rests on: how long the disk takes to keep 4
// KiB, how late a sleeper wakes, and how much else wants to run.
func measureMachine(dir string) (string, error) {
	file, err := os.Create(filepath.Join(dir, "gauge"))
	if err != nil {
		return "", fmt.Errorf("gauge the disk: %w", err)
	}
	defer func() { _ = os.Remove(file.Name()) }()
	defer func() { _ = file.Close() }()
	const trials = 100
	var syncs, late durationSamples
	page := make([]byte, 4096)
	for range trials {
		began := monotonicNow()
		if _, err := file.Write(page); err != nil {
			return "", fmt.Errorf("gauge the disk: %w", err)
		}
		if err := file.Sync(); err != nil {
			return "", fmt.Errorf("gauge the disk: %w", err)
		}
		syncs = append(syncs, monotonicNow().since(began))
	}
	for range trials {
		began := monotonicNow()
		time.Sleep(time.Millisecond)
		late = append(late, monotonicNow().since(began)-time.Millisecond)
	}
	load := "unknown"
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		load, _, _ = strings.Cut(string(text), " ")
	}
	return fmt.Sprintf("%s; 4 KiB synced in p50 %s, p99 %s; a sleeper wakes late by p50 %s, p99 %s; load %s", describeMachine(),
		formatBrief(syncs.quantile(0.5)), formatBrief(syncs.quantile(0.99)), formatBrief(late.quantile(0.5)), formatBrief(late.quantile(0.99)), load), nil
}
