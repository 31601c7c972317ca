package measure

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Usage is what a process has used since it started.
type Usage struct {
	CPU     time.Duration
	Written uint64 // bytes given to the disk
	Memory  Memory
}

// Memory is the kernel's account of a process, in bytes.
type Memory struct {
	RSS  uint64 `json:"rss"`
	Peak uint64 `json:"peak"`
	Own  uint64 `json:"own"`
	File uint64 `json:"file"` // pages of mapped files, which the kernel could drop
}

// Max is the greater of each part.
func (m Memory) Max(other Memory) Memory {
	return Memory{RSS: max(m.RSS, other.RSS), Peak: max(m.Peak, other.Peak), Own: max(m.Own, other.Own), File: max(m.File, other.File)}
}

const clockTick = 10 * time.Millisecond // of /proc/PID/stat on Linux: USER_HZ is 100

// ReadUsage reads the usage of a process.
func ReadUsage(pid int) (u Usage, err error) {
	folder := fmt.Sprintf("/proc/%d/", pid)
	fields, err := readFields(folder + "status")
	if err != nil {
		return u, err
	}
	u.Memory = Memory{RSS: parseKiB(fields["VmRSS"]), Peak: parseKiB(fields["VmHWM"]), Own: parseKiB(fields["RssAnon"]), File: parseKiB(fields["RssFile"])}
	if fields, err = readFields(folder + "io"); err != nil {
		return u, err
	}
	u.Written = parseNumber(fields["write_bytes"])
	stat, err := os.ReadFile(folder + "stat")
	if err != nil {
		return u, err
	}
	_, after, _ := strings.Cut(string(stat), ") ") // the name before it may hold anything
	columns := strings.Fields(after)
	if len(columns) < 13 {
		return u, fmt.Errorf("%sstat has %d columns", folder, len(columns))
	}
	u.CPU = time.Duration(parseNumber(columns[11])+parseNumber(columns[12])) * clockTick
	return u, nil
}

// readFields reads lines such as "VmRSS: 12 kB".
func readFields(path string) (map[string]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	fields := make(map[string]string)
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		fields[name] = strings.TrimSpace(value)
	}
	return fields, nil
}

func parseNumber(text string) uint64 {
	n, _ := strconv.ParseUint(text, 10, 64) // the kernel wrote it
	return n
}

func parseKiB(text string) uint64 { return parseNumber(strings.TrimSuffix(text, " kB")) << 10 }

// Disk is the space of a node's folder in bytes, each file counted once however many links it has.
type Disk struct {
	Tables    uint64 `json:"tables"`
	Snapshots uint64 `json:"snapshots"` // only files that the tables no longer share
	Log       uint64 `json:"log"`
	Total     uint64 `json:"total"`
}

// ReadDisk reads the space of a node's folder.
func ReadDisk(folder string) (d Disk, err error) {
	seen := make(map[fileIdentity]bool)
	sum := func(folder string) (total uint64, err error) {
		err = filepath.WalkDir(folder, func(_ string, entry os.DirEntry, err error) error {
			var info os.FileInfo
			if err == nil && !entry.IsDir() {
				info, err = entry.Info()
			}
			if errors.Is(err, os.ErrNotExist) {
				return nil // compacted away meanwhile
			}
			if err != nil || info == nil {
				return err
			}
			if file, bytes, known := readAllocation(info); known && !seen[file] {
				seen[file] = true
				total += bytes
			}
			return nil
		})
		return total, err
	}
	var errs [3]error
	d.Tables, errs[0] = sum(filepath.Join(folder, "tables"))
	d.Snapshots, errs[1] = sum(filepath.Join(folder, "snapshots"))
	d.Log, errs[2] = sum(folder) // the rest
	d.Total = d.Tables + d.Snapshots + d.Log
	return d, errors.Join(errs[:]...)
}
