package faultfs

import (
	"io"
	"os"
)

// changeState says what a loss of power does to a change of a file's bytes.
type changeState int

const (
	unsynced  changeState = iota
	abandoned             // a sync of it failed: no later one brings it to the disk
	synced                // kept in the journal only for those before it that are abandoned
)

// byteChange is a write, or a change of the size.
type byteChange struct {
	state                 changeState
	resize                bool
	begin, end            int64  // the bytes that it changed
	before                []byte // what was there; shorter where the file ended
	sizeBefore, sizeAfter int64
}

// byteJournal has the changes of one file's bytes that are not synced, in their order.
type byteJournal struct {
	file    *os.File // for reading and writing, whatever its name is now
	inode   uint64
	handles int
	removed bool // no name leads to it any more, which is synced: nothing of it needs to be kept
	changes []byteChange
}

func (j *byteJournal) size() (int64, error) {
	info, err := j.file.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// readBytes reads what the file has between two places.
func (j *byteJournal) readBytes(begin, end, size int64) ([]byte, error) {
	if end = min(end, size); begin >= end {
		return nil, nil
	}
	bytes := make([]byte, end-begin)
	n, err := j.file.ReadAt(bytes, begin)
	if err == io.EOF {
		err = nil
	}
	return bytes[:n], err
}

// noteWrite is called before a write.
func (j *byteJournal) noteWrite(begin, end int64) error {
	size, err := j.size()
	if err != nil || j.removed {
		return err
	}
	before, err := j.readBytes(begin, end, size)
	j.changes = append(j.changes, byteChange{begin: begin, end: end, before: before, sizeBefore: size, sizeAfter: max(size, end)})
	return err
}

// noteResize is called before the size is changed.
func (j *byteJournal) noteResize(to int64) error {
	size, err := j.size()
	if err != nil || j.removed || size == to {
		return err
	}
	before, err := j.readBytes(to, size, size)
	j.changes = append(j.changes, byteChange{
		resize: true, begin: to, end: max(to, size), before: before, sizeBefore: size, sizeAfter: to,
	})
	return err
}

// sync keeps all changes, but those that were abandoned.
func (j *byteJournal) sync() {
	held := false
	for _, c := range j.changes {
		held = held || c.state == abandoned
	}
	if !held {
		j.changes = nil
		return
	}
	for i := range j.changes {
		if c := &j.changes[i]; c.state == unsynced {
			c.state, c.before = synced, nil
		}
	}
}

// abandon is what a failed sync does.
func (j *byteJournal) abandon() {
	for i := range j.changes {
		if j.changes[i].state == unsynced {
			j.changes[i].state = abandoned
		}
	}
}

// piece is a part of a change that a loss of power takes or leaves as a whole.
type piece struct {
	change     int
	begin, end int64
	kept       bool
}

// losePower takes back the pieces of changes that are not synced and for which keep is false.
func (j *byteJournal) losePower(pieceBytes int64, keep func() bool, e *Effects) error {
	if len(j.changes) == 0 {
		return nil
	}
	pieces, size := j.choosePieces(pieceBytes, keep)
	for i := len(pieces) - 1; i >= 0; i-- {
		p := pieces[i]
		if p.kept {
			if j.changes[p.change].state != synced {
				e.KeptPieces++
			}
			continue
		}
		e.LostPieces++
		e.LostBytes += p.end - p.begin
		for _, part := range j.withoutSynced(p) {
			if err := j.writeBefore(part); err != nil {
				return err
			}
		}
	}
	j.changes = nil
	return j.file.Truncate(size)
}

// choosePieces cuts the changes into pieces, and returns the size that the file has with those that are kept.
func (j *byteJournal) choosePieces(pieceBytes int64, keep func() bool) (pieces []piece, size int64) {
	size = j.changes[0].sizeBefore
	for i, c := range j.changes {
		if c.resize {
			p := piece{i, c.begin, c.end, c.state == synced || c.state == unsynced && keep()}
			if p.kept {
				size = c.sizeAfter
			}
			pieces = append(pieces, p)
			continue
		}
		for begin := c.begin; begin < c.end; {
			p := piece{i, begin, min(c.end, (begin/pieceBytes+1)*pieceBytes), c.state == synced || c.state == unsynced && keep()}
			if p.kept {
				size = max(size, p.end)
			}
			pieces = append(pieces, p)
			begin = p.end
		}
	}
	return pieces, size
}

// withoutSynced returns the parts of a piece that no later synced change wrote.
func (j *byteJournal) withoutSynced(p piece) []piece {
	parts := []piece{p}
	for _, c := range j.changes[p.change+1:] {
		if c.state != synced {
			continue
		}
		var left []piece
		for _, part := range parts {
			if c.end <= part.begin || part.end <= c.begin {
				left = append(left, part)
				continue
			}
			if part.begin < c.begin {
				left = append(left, piece{part.change, part.begin, c.begin, false})
			}
			if c.end < part.end {
				left = append(left, piece{part.change, c.end, part.end, false})
			}
		}
		parts = left
	}
	return parts
}

// writeBefore writes what was at a piece before its change; where the file had ended, zeros.
func (j *byteJournal) writeBefore(p piece) error {
	c := j.changes[p.change]
	bytes := make([]byte, p.end-p.begin)
	if from := p.begin - c.begin; from < int64(len(c.before)) {
		copy(bytes, c.before[from:])
	}
	_, err := j.file.WriteAt(bytes, p.begin)
	return err
}
