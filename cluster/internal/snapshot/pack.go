package snapshot

import (
	"encoding/binary"
	"fmt"
	"io"
	"strings"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/profilenode/profilenode/cluster/internal/disk"
)

// packer is an io.Reader of the stream of a snapshot's folder. stream.go describes the stream.
type packer struct {
	fs           vfs.FS
	dir          string
	files        []fileEntry
	nextFile     int            // index in files of the open file, or of the next one to open
	pendingBytes []byte         // encoded bytes that come before any bytes of a file: the head, or a file's checksum
	file         vfs.File       // the open file; nil: none
	fileLeft     int64          // bytes of the open file that are not read yet
	sum          *xxhash.Digest // checksum of the read bytes of the open file
	err          error          // the error that every later Read returns
	onDamage     func(file string, err error)
}

// newPacker returns the stream of the snapshot whose files are in dir. onDamage is told of a file whose content is not the written one; nil: no
// function is told.
func newPacker(fs vfs.FS, dir string, in contents, onDamage func(file string, err error)) *packer {
	return &packer{fs: fs, dir: dir, files: in.Files, pendingBytes: encodeStreamHead(in), sum: xxhash.New(), onDamage: onDamage}
}

// Read reads the next bytes of the stream. It returns an error for a file that differs from the list in its length, or from the
// bytes that this node received in its checksum, and for a table of this node's own with a wrong checksum of a block. Otherwise
// a file that was damaged on this disk would be sent with a checksum that fits the damage, and the receiver would install it.
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

// openNext opens the next file and checks its length.
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
		return p.damaged(f.Name, fmt.Errorf("it has %d bytes, not %d", info.Size(), f.Size))
	}
	if f.Sum == "" && strings.HasSuffix(f.Name, ".sst") {
		if err := disk.CheckTable(p.fs, p.fs.PathJoin(p.dir, f.Name)); err != nil {
			return p.damaged(f.Name, err)
		}
	}
	return nil
}

// damaged reports a damaged file, and returns the error of Read.
func (p *packer) damaged(file string, err error) error {
	damage := disk.NewDamageError(p.fs.PathJoin(p.dir, file), err)
	if p.onDamage != nil {
		p.onDamage(file, damage)
	}
	return fmt.Errorf("read snapshot: %w", damage)
}

// endFile checks and closes the open file, and makes its checksum the next bytes of the stream.
func (p *packer) endFile() error {
	sum := p.sum.Sum64()
	if want := p.files[p.nextFile].Sum; want != "" && want != disk.FormatChecksum(sum) {
		return p.damaged(p.files[p.nextFile].Name, fmt.Errorf("its checksum is %s, and was %s when it was received", disk.FormatChecksum(sum), want))
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
