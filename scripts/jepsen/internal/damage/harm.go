package damage

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
)

// ErrTooSmall is the error of a file that is too small to be harmed so.
var ErrTooSmall = errors.New("the file is too small")

const chunk = 4096 // bytes: what a disk writes at once

// harmBytes changes bytes of a file, and syncs it.
func harmBytes(path string, harm func(file *os.File, size int64) error) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err == nil {
		err = harm(file, info.Size())
	}
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("damage %s: %w", path, err)
	}
	return nil
}

func newRandom(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

// FlipBit flips one bit of a file, and returns the place of its byte.
func FlipBit(path string, seed uint64) (at int64, err error) {
	random := newRandom(seed)
	err = harmBytes(path, func(file *os.File, size int64) error {
		if size == 0 {
			return ErrTooSmall
		}
		at = random.Int64N(size)
		b := make([]byte, 1)
		if _, err := file.ReadAt(b, at); err != nil {
			return err
		}
		b[0] ^= 1 << random.IntN(8)
		_, err := file.WriteAt(b, at)
		return err
	})
	return at, err
}

// CopyChunk writes a chunk of one file, which may be the same, over another chunk of a file, as a write does that was misdirected. It
// returns the place of the chunk that is lost. Chunks that are equal are not chosen; a file of a single chunk gets another file's.
func CopyChunk(from, to string, seed uint64) (at int64, err error) {
	random := newRandom(seed)
	source, err := os.ReadFile(from)
	if err != nil {
		return 0, err
	}
	err = harmBytes(to, func(file *os.File, size int64) error {
		chunks, others := (size+chunk-1)/chunk, (int64(len(source))+chunk-1)/chunk
		if chunks == 0 || others == 0 {
			return ErrTooSmall
		}
		const tries = 100
		for range tries {
			at = random.Int64N(chunks) * chunk
			there := random.Int64N(others) * chunk
			wrong := source[there:min(there+chunk, int64(len(source)))]
			right := make([]byte, min(chunk, size-at))
			if _, err := file.ReadAt(right, at); err != nil {
				return err
			}
			wrong = wrong[:min(len(wrong), len(right))] // the file keeps its size
			if bytes.Equal(wrong, right[:len(wrong)]) {
				continue
			}
			_, err := file.WriteAt(wrong, at)
			return err
		}
		return fmt.Errorf("%w: no two of its chunks differ", ErrTooSmall)
	})
	return at, err
}

// RollBackPart puts a part of a file back to what an older copy of it holds there, as a write does that was lost. It begins at a chunk
// that differs, and ends where the older one ends or at a random chunk before. It returns the part.
func RollBackPart(path, older string, seed uint64) (begin, end int64, err error) {
	random := newRandom(seed)
	before, err := os.ReadFile(older)
	if err != nil {
		return 0, 0, err
	}
	err = harmBytes(path, func(file *os.File, size int64) error {
		now, err := io.ReadAll(file)
		if err != nil {
			return err
		}
		common := min(int64(len(before)), size)
		var differ []int64
		for at := int64(0); at < common; at += chunk {
			if last := min(at+chunk, common); !bytes.Equal(before[at:last], now[at:last]) {
				differ = append(differ, at)
			}
		}
		if len(differ) == 0 {
			return fmt.Errorf("%w: nothing in it has changed since the older copy", ErrTooSmall)
		}
		begin = differ[random.IntN(len(differ))]
		end = min(begin+(1+random.Int64N((common-begin+chunk-1)/chunk))*chunk, common)
		_, err = file.WriteAt(before[begin:end], begin)
		return err
	})
	return begin, end, err
}

// TruncateTail cuts from 1 to most bytes off the end of a file, and returns how many.
func TruncateTail(path string, most int64, seed uint64) (cut int64, err error) {
	random := newRandom(seed)
	err = harmBytes(path, func(file *os.File, size int64) error {
		if size == 0 || most < 1 {
			return ErrTooSmall
		}
		cut = 1 + random.Int64N(min(size, most))
		return file.Truncate(size - cut)
	})
	return cut, err
}
