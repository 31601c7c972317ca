package snapshot

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/profilenode/profilenode/cluster/internal/disk"
	"github.com/profilenode/profilenode/fsm"
)

// unpacker writes the files of a received stream into a folder. The stream may hold anything: the unpacker keeps at most
// the list of files in memory, writes no more bytes than the list says, and each file that it has closed is checked and
// synced.
//
// It works in steps. It first gathers the wantBytes bytes of the next encoded part (the fixed bytes, the list, a
// checksum), and then calls onGathered, which decodes the part and sets the next one. While fileLeft is not 0, bytes go
// to the open file.
type unpacker struct {
	fs       vfs.FS
	dir      string
	build    fsm.Build
	contents // as the head states them; files that are written have their checksums

	wantBytes  int            // bytes that gathered must have before onGathered is called
	gathered   []byte         // bytes of the current part so far
	onGathered func() error   // decodes the gathered part
	fileIndex  int            // index in files of the file that is being written
	file       vfs.File       // the open file; nil: none
	fileLeft   int64          // bytes of the open file that have not come yet
	scratch    []byte         // copy of the bytes that are being written
	sum        *xxhash.Digest // checksum of the written bytes of the open file
	ended      bool           // all files are written; no byte may follow
	err        error          // the first error
}

func newUnpacker(fs vfs.FS, dir string, build fsm.Build) *unpacker {
	u := &unpacker{fs: fs, dir: dir, build: build, sum: xxhash.New(), wantBytes: fixedBytes}
	u.onGathered = u.readFixed
	return u
}

// Write takes the next piece of the stream, which may begin and end anywhere. After an error every call returns that error.
func (u *unpacker) Write(b []byte) (int, error) {
	taken := 0
	for taken < len(b) && u.err == nil {
		rest := b[taken:]
		if u.fileLeft > 0 {
			// A vfs.File may change the bytes that it writes, but an io.Writer must not, so write a copy.
			u.scratch = append(u.scratch[:0], rest[:min(int64(len(rest)), u.fileLeft, copyBytes)]...)
			_, _ = u.sum.Write(u.scratch)
			n, err := u.file.Write(u.scratch)
			u.fileLeft -= int64(n)
			taken += n
			u.err = err
			continue
		}
		if u.ended {
			u.err = errors.New("stream goes on after its last file")
			break
		}
		part := rest[:min(len(rest), u.wantBytes-len(u.gathered))]
		u.gathered = append(u.gathered, part...)
		taken += len(part)
		if len(u.gathered) == u.wantBytes {
			u.err = u.onGathered()
		}
	}
	if u.err != nil {
		return taken, fmt.Errorf("unpack snapshot: %w", u.err)
	}
	return taken, nil
}

// finishUnpacking returns an error if the stream is not complete. Otherwise it syncs the folder.
func (u *unpacker) finishUnpacking() error {
	if u.err == nil && !u.ended {
		u.err = errors.New("stream ends before its last file does")
	}
	if u.err != nil {
		return fmt.Errorf("unpack snapshot: %w", u.err)
	}
	return disk.SyncFolder(u.fs, u.dir)
}

// close closes a file that is not complete.
func (u *unpacker) close() error {
	if u.file == nil {
		return nil
	}
	err := u.file.Close()
	u.file = nil
	return err
}

// readFixed decodes the fixed bytes at the beginning of the stream.
func (u *unpacker) readFixed() error {
	fixed := u.gathered
	if string(fixed[:len(streamMagic)]) != streamMagic {
		return errors.New("this is no snapshot")
	}
	fixed = fixed[len(streamMagic):]
	if version := binary.BigEndian.Uint32(fixed); version != streamVersion {
		return fmt.Errorf("its format is %d, and this build reads %d", version, streamVersion)
	}
	files := binary.BigEndian.Uint32(fixed[4:])
	u.Row = binary.BigEndian.Uint64(fixed[8:])
	u.Level = binary.BigEndian.Uint32(fixed[16:])
	u.FileFormat = pebble.FormatMajorVersion(binary.BigEndian.Uint32(fixed[20:]))
	list := binary.BigEndian.Uint32(fixed[24:])
	if files > maxFiles || list > maxListBytes {
		return fmt.Errorf("it lists %d files in %d bytes, which is too much", files, list)
	}
	u.Files = make([]fileEntry, 0, min(files, 1<<10))
	u.wantBytes += int(list) + sumBytes
	u.onGathered = func() error { return u.readList(int(files)) }
	return nil
}

// readList decodes the list of count files and checks it before anything is written.
func (u *unpacker) readList(count int) error {
	end := len(u.gathered) - sumBytes
	if xxhash.Sum64(u.gathered[:end]) != binary.BigEndian.Uint64(u.gathered[end:]) {
		return errors.New("its list of files is damaged")
	}
	if err := u.build.CheckReads(u.Level, u.FileFormat); err != nil {
		return err
	}
	seen := make(map[string]bool)
	total := int64(0)
	for list := u.gathered[fixedBytes:end]; len(list) > 0 || len(u.Files) < count; {
		if len(list) < 2 || len(u.Files) == count {
			return errors.New("its list of files is malformed")
		}
		length := int(binary.BigEndian.Uint16(list))
		list = list[2:]
		if len(list) < length+8 {
			return errors.New("its list of files is malformed")
		}
		name, size := string(list[:length]), binary.BigEndian.Uint64(list[length:])
		list = list[length+8:]
		if err := checkFileName(name); err != nil {
			return err
		}
		if seen[name] {
			return fmt.Errorf("it lists file %s twice", name)
		}
		seen[name] = true
		if size > maxTotalBytes || total+int64(size) > maxTotalBytes {
			return errors.New("it is too large")
		}
		total += int64(size)
		u.Files = append(u.Files, fileEntry{Name: name, Size: int64(size)})
	}
	// A disk that is too small is detected now and not after an hour of receiving. If the free space is unknown, a write
	// fails.
	if usage, err := u.fs.GetDiskUsage(u.dir); err == nil && uint64(total) > usage.AvailBytes {
		return fmt.Errorf("it needs %d bytes on disk, and %d are free", total, usage.AvailBytes)
	}
	return u.beginFile()
}

// beginFile creates the next file of the list, or ends the stream after the last one.
func (u *unpacker) beginFile() error {
	u.gathered = u.gathered[:0:0]
	if u.fileIndex == len(u.Files) {
		u.wantBytes, u.ended = 0, true
		return nil
	}
	f := u.Files[u.fileIndex]
	file, err := u.fs.Create(u.fs.PathJoin(u.dir, f.Name), vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	u.file, u.fileLeft = file, f.Size
	u.sum.Reset()
	u.wantBytes, u.onGathered = sumBytes, u.endFile
	return nil
}

// endFile compares the checksum of the open file with the gathered one, and syncs and closes the file.
func (u *unpacker) endFile() error {
	f := &u.Files[u.fileIndex]
	sum := u.sum.Sum64()
	if binary.BigEndian.Uint64(u.gathered) != sum {
		return fmt.Errorf("file %s is damaged", f.Name)
	}
	f.Sum = disk.FormatChecksum(sum)
	file := u.file
	u.file = nil
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		return err
	}
	u.fileIndex++
	return u.beginFile()
}
