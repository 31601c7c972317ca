package measure

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/prometheus/procfs"
)

// DescribeMachine names the machine in a few words.
func DescribeMachine() string {
	model, memory := "", ""
	if file, err := os.Open("/proc/cpuinfo"); err == nil {
		for lines := bufio.NewScanner(file); lines.Scan() && model == ""; {
			if name, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
			}
		}
		_ = file.Close()
	}
	if proc, err := procfs.NewDefaultFS(); err == nil {
		if info, err := proc.Meminfo(); err == nil && info.MemTotalBytes != nil {
			memory = FormatSize(*info.MemTotalBytes)
		}
	}
	return fmt.Sprintf("%s/%s, %d CPUs (%s), %s, %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), model, memory, runtime.Version())
}

// MeasureMachine describes the machine's present performance, which every figure rests on: the time in which the disk of a
// folder stores 4 KiB, the delay with which a sleeper wakes, and the load.
func MeasureMachine(folder string) (string, error) {
	file, err := os.Create(filepath.Join(folder, "sync-test"))
	if err != nil {
		return "", fmt.Errorf("measure the disk: %w", err)
	}
	defer func() { _ = os.Remove(file.Name()) }()
	defer func() { _ = file.Close() }()
	const trials = 100
	var syncs, late Samples
	page := make([]byte, 4096)
	for range trials {
		began := Now()
		if _, err := file.Write(page); err != nil {
			return "", fmt.Errorf("measure the disk: %w", err)
		}
		if err := file.Sync(); err != nil {
			return "", fmt.Errorf("measure the disk: %w", err)
		}
		syncs.Add(Now().Since(began))
	}
	for range trials {
		began := Now()
		time.Sleep(time.Millisecond)
		late.Add(Now().Since(began) - time.Millisecond)
	}
	load := "unknown"
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		load, _, _ = strings.Cut(string(text), " ")
	}
	return fmt.Sprintf("%s; 4 KiB synced in p50 %s, p99 %s; a sleeper wakes late by p50 %s, p99 %s; load %s", DescribeMachine(),
		FormatDuration(syncs.Quantile(0.5)), FormatDuration(syncs.Quantile(0.99)),
		FormatDuration(late.Quantile(0.5)), FormatDuration(late.Quantile(0.99)), load), nil
}
