package fsm

import (
	"encoding/binary"
	"fmt"
)

// rowFormat is the first byte of every row. Rows have an encoding of their own and not protobuf's, because the digest covers
// them: every build must write the same bytes for the same values.
const rowFormat = 1

// rowWriter appends fields; rowReader takes them off in the same order.
type rowWriter []byte

func newRowWriter(size int) rowWriter { return append(make(rowWriter, 0, size+1), rowFormat) }

func (w *rowWriter) writeUint(v uint64) { *w = binary.AppendUvarint(*w, v) }
func (w *rowWriter) writeInt(v int64)   { *w = binary.AppendVarint(*w, v) }
func (w *rowWriter) writeFixed(v uint64) {
	*w = binary.BigEndian.AppendUint64(*w, v)
}

func (w *rowWriter) writeBool(v bool) {
	if v {
		*w = append(*w, 1)
		return
	}
	*w = append(*w, 0)
}

func (w *rowWriter) writeBytes(v []byte) {
	w.writeUint(uint64(len(v)))
	*w = append(*w, v...)
}

func (w *rowWriter) writeString(v string) {
	w.writeUint(uint64(len(v)))
	*w = append(*w, v...)
}

// rowReader keeps the fact that a row is damaged, so that a function that reads ten fields checks once.
type rowReader struct {
	rest []byte
	bad  bool
}

func newRowReader(row []byte) rowReader {
	if len(row) == 0 || row[0] != rowFormat {
		return rowReader{bad: true}
	}
	return rowReader{rest: row[1:]}
}

func (r *rowReader) markDamaged() {
	r.rest, r.bad = nil, true
}

func (r *rowReader) readUint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.markDamaged()
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *rowReader) readInt() int64 {
	v, n := binary.Varint(r.rest)
	if n <= 0 {
		r.markDamaged()
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *rowReader) readFixed() uint64 {
	b := r.takeBytes(8)
	if b == nil {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

func (r *rowReader) readBool() bool {
	b := r.takeBytes(1)
	return b != nil && b[0] == 1
}

// readBytes returns a slice of the row, not a copy.
func (r *rowReader) readBytes() []byte { return r.takeBytes(r.readUint()) }

func (r *rowReader) readString() string { return string(r.readBytes()) }

func (r *rowReader) takeBytes(n uint64) []byte {
	if r.bad || n > uint64(len(r.rest)) {
		r.markDamaged()
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

// finishRow reports a damaged row: too short, too long, or of an unknown format.
func (r *rowReader) finishRow(table byte) error {
	if r.bad || len(r.rest) != 0 {
		return fmt.Errorf("a row of table %q is damaged or of an unknown format", table)
	}
	return nil
}
