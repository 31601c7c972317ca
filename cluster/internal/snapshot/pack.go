package snapshot

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/profilenode/profilenode/cluster/internal/disk"
)

// packer reads a snapshot's folder as a stream.
type packer struct {
	fs           vfs.FS
	dir          string
	files        []fileEntry
	nextFile     int    // the file to open when pending is used up
	pendingBytes []byte // head, or a checksum: read before the open file
	file         vfs.File
	fileLeft     int64 // of the open file
	sum          *xxhash.Digest
	err          error
}

func newPacker(fs vfs.FS, dir string, row uint64, files []fileEntry) *packer {
	return &packer{fs: fs, dir: dir, files: files, pendingBytes: encodeStreamHead(row, files), sum: xxhash.New()}
}

// Read reads on. A file that is not as long as the list says, or differs from the received bytes, is an error: a file that is
// damaged here must not be passed on with a checksum that makes it whole.
func (p *packer) Read(b []byte) (int, error) {
	for p.err == nil {
		switch {
		case len(b) == 0:
			return 0, nil
		case len(p.pendingBytes) > 0:
			n := copy(b, p.pendingBytes)
			p.pendingBytes = p.pendingBytes[n:]
			return n, nil
		case p.file == nil && p.nextFile == len(p.files):
			p.err = io.EOF
		case p.file == nil:
			p.err = p.openNext()
		case p.fileLeft == 0:
			p.err = p.endFile()
		default:
			n, err := p.file.Read(b[:min(int64(len(b)), p.fileLeft)])
			p.fileLeft -= int64(n)
			_, _ = p.sum.Write(b[:n])
			if err == io.EOF && p.fileLeft > 0 {
				p.err = fmt.Errorf("file %s of the snapshot is too short", p.files[p.nextFile].Name)
			} else if err != nil && err != io.EOF {
				p.err = fmt.Errorf("read snapshot: %w", err)
			}
			if n > 0 {
				return n, nil
			}
		}
	}
	return 0, p.err
}

func (p *packer) openNext() error {
	f := p.files[p.nextFile]
	file, err := p.fs.Open(p.fs.PathJoin(p.dir, f.Name), vfs.SequentialReadsOption)
	if err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	p.file, p.fileLeft = file, f.Size
	p.sum.Reset()
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	if info.Size() != f.Size {
		return fmt.Errorf("file %s of the snapshot has %d bytes, not %d", f.Name, info.Size(), f.Size)
	}
	return nil
}

func (p *packer) endFile() error {
	sum := p.sum.Sum64()
	if want := p.files[p.nextFile].Sum; want != "" && want != disk.FormatChecksum(sum) {
		return fmt.Errorf("file %s of the snapshot is damaged", p.files[p.nextFile].Name)
	}
	err := p.file.Close()
	p.file = nil
	p.nextFile++
	p.pendingBytes = binary.BigEndian.AppendUint64(p.pendingBytes[:0:0], sum)
	return err
}

func (p *packer) close() error {
	if p.file == nil {
		return nil
	}
	err := p.file.Close()
	p.file = nil
	return err
}
