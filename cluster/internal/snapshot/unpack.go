package snapshot

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/profilenode/profilenode/cluster/internal/disk"
)

// unpacker writes a stream into a folder as it comes. It trusts nothing: it holds no more than the list in memory,
// writes no more than the list says, and a file that is there whole has been checked and synced.
type unpacker struct {
	fs    vfs.FS
	dir   string
	row   uint64
	files []fileEntry

	wantBytes  int    // bytes to gather in have before step is called; 0 once the stream must end
	gathered   []byte // gathered so far
	onGathered func() error
	fileIndex  int // the file that is being written
	file       vfs.File
	fileLeft   int64 // of its bytes
	scratch    []byte
	sum        *xxhash.Digest
	ended      bool
	err        error
}

func newUnpacker(fs vfs.FS, dir string) *unpacker {
	u := &unpacker{fs: fs, dir: dir, sum: xxhash.New(), wantBytes: fixedBytes}
	u.onGathered = u.readFixed
	return u
}

// Write takes the next piece of the stream, cut anywhere. After an error every call returns it.
func (u *unpacker) Write(b []byte) (int, error) {
	taken := 0
	for taken < len(b) && u.err == nil {
		rest := b[taken:]
		if u.fileLeft > 0 {
			// A vfs.File may change the bytes that it is given to write; the caller's must stay as they are.
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

// finishUnpacking says whether the whole stream has come, and makes the folder durable.
func (u *unpacker) finishUnpacking() error {
	if u.err == nil && !u.ended {
		u.err = errors.New("stream ends before its last file does")
	}
	if u.err != nil {
		return fmt.Errorf("unpack snapshot: %w", u.err)
	}
	return disk.SyncFolder(u.fs, u.dir)
}

// close lets go of a file that is half written.
func (u *unpacker) close() error {
	if u.file == nil {
		return nil
	}
	err := u.file.Close()
	u.file = nil
	return err
}

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
	u.row = binary.BigEndian.Uint64(fixed[8:])
	list := binary.BigEndian.Uint32(fixed[16:])
	if files > maxFiles || list > maxListBytes {
		return fmt.Errorf("it lists %d files in %d bytes, which is too much", files, list)
	}
	u.files = make([]fileEntry, 0, min(files, 1<<10))
	u.wantBytes += int(list) + sumBytes
	u.onGathered = func() error { return u.readList(int(files)) }
	return nil
}

func (u *unpacker) readList(count int) error {
	end := len(u.gathered) - sumBytes
	if xxhash.Sum64(u.gathered[:end]) != binary.BigEndian.Uint64(u.gathered[end:]) {
		return errors.New("its list of files is damaged")
	}
	seen := make(map[string]bool)
	total := int64(0)
	for list := u.gathered[fixedBytes:end]; len(list) > 0 || len(u.files) < count; {
		if len(list) < 2 || len(u.files) == count {
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
		u.files = append(u.files, fileEntry{Name: name, Size: int64(size)})
	}
	// A full disk is found now, not after an hour of streaming. Where free space is unknown, the write will tell.
	if usage, err := u.fs.GetDiskUsage(u.dir); err == nil && uint64(total) > usage.AvailBytes {
		return fmt.Errorf("it needs %d bytes on disk, and %d are free", total, usage.AvailBytes)
	}
	return u.beginFile()
}

func (u *unpacker) beginFile() error {
	u.gathered = u.gathered[:0:0]
	if u.fileIndex == len(u.files) {
		u.wantBytes, u.ended = 0, true
		return nil
	}
	f := u.files[u.fileIndex]
	file, err := u.fs.Create(u.fs.PathJoin(u.dir, f.Name), vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	u.file, u.fileLeft = file, f.Size
	u.sum.Reset()
	u.wantBytes, u.onGathered = sumBytes, u.endFile
	return nil
}

func (u *unpacker) endFile() error {
	f := &u.files[u.fileIndex]
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
