package measure

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/procfs"
)

// Usage is the resources that a process has used since it started.
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

// ReadUsage reads the usage of a process.
func ReadUsage(pid int) (u Usage, err error) {
	process, err := procfs.NewProc(pid)
	if err != nil {
		return u, err
	}
	status, err1 := process.NewStatus()
	io, err2 := process.IO()
	stat, err3 := process.Stat()
	return Usage{
		CPU: time.Duration(stat.CPUTime() * float64(time.Second)), Written: io.WriteBytes,
		Memory: Memory{RSS: status.VmRSS, Peak: status.VmHWM, Own: status.RssAnon, File: status.RssFile},
	}, errors.Join(err1, err2, err3)
}

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
