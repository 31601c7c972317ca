package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// gauge says what this machine gives just now, which every figure here rests on: how long the disk takes to keep 4 KiB,
// how late a sleeper wakes, and how much else wants to run.
func gauge(dir string) (string, error) {
	file, err := os.Create(filepath.Join(dir, "gauge"))
	if err != nil {
		return "", fmt.Errorf("gauge the disk: %w", err)
	}
	defer func() { _ = os.Remove(file.Name()) }()
	defer func() { _ = file.Close() }()
	const trials = 100
	var syncs, late samples
	page := make([]byte, 4096)
	for range trials {
		began := thisMoment()
		if _, err := file.Write(page); err != nil {
			return "", fmt.Errorf("gauge the disk: %w", err)
		}
		if err := file.Sync(); err != nil {
			return "", fmt.Errorf("gauge the disk: %w", err)
		}
		syncs = append(syncs, thisMoment().since(began))
	}
	for range trials {
		began := thisMoment()
		time.Sleep(time.Millisecond)
		late = append(late, thisMoment().since(began)-time.Millisecond)
	}
	load := "unknown"
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		load, _, _ = strings.Cut(string(text), " ")
	}
	return fmt.Sprintf("%s; 4 KiB synced in p50 %s, p99 %s; a sleeper wakes late by p50 %s, p99 %s; load %s", machine(),
		brief(syncs.at(0.5)), brief(syncs.at(0.99)), brief(late.at(0.5)), brief(late.at(0.99)), load), nil
}
