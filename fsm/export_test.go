package fsm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/profilenode/profilenode/lock"
)

// What tests see of the tables beyond what View tells.

// Codes is how many codes there are.
const Codes = codes

// MaxParts is how many bytes of parts an incarnation may leave unreferenced.
const MaxParts = maxParts

// Row is one row of any table.
type Row struct{ Key, Value string }

// Rows lists every row, the standing too.
func (v *View) Rows() ([]Row, error) {
	r := v.tableReader()
	var rows []Row
	r.scanRows([]byte{0}, []byte{0xff}, func(key, row []byte) bool {
		rows = append(rows, Row{string(key), string(row)})
		return true
	})
	return rows, r.err
}

// Answered is one row of the table of answers.
type Answered struct {
	Number, Hash uint64
	Result       Result
}

// Answers lists what is kept of an incarnation's requests.
func (v *View) Answers(id lock.Incarnation) ([]Answered, error) {
	r := v.tableReader()
	var list []Answered
	prefix := serverKey(tableAnswer, id)
	r.scanRows(prefix, keyAfterPrefix(prefix), func(key, _ []byte) bool {
		number := messageID(key)
		a, _ := r.readAnswer(id, number)
		list = append(list, Answered{number, a.hash, a.Result})
		return true
	})
	return list, r.err
}

// PartRow is one part of data that is still on its way.
type PartRow struct {
	Number uint64
	Part   uint32
	Bytes  []byte
}

// Parts lists an incarnation's parts, and what the tables believe they add up to.
func (v *View) Parts(id lock.Incarnation) ([]PartRow, uint64, error) {
	r := v.tableReader()
	var list []PartRow
	prefix := serverKey(tablePart, id)
	r.scanRows(prefix, keyAfterPrefix(prefix), func(key, row []byte) bool {
		tail := key[len(prefix):]
		list = append(list, PartRow{binary.BigEndian.Uint64(tail), binary.BigEndian.Uint32(tail[8:]), append([]byte(nil), row...)})
		return true
	})
	return list, r.countKeptParts(id), r.err
}

// ProfileName is a store and a key.
type ProfileName struct{ Store, Key string }

// Profiles lists whatever any table knows of.
func (v *View) Profiles() ([]ProfileName, error) {
	r := v.tableReader()
	var list []ProfileName
	seen := map[ProfileName]bool{}
	for _, table := range []byte{tableRecord, tableGrant, tableInbox} {
		r.scanRows([]byte{table}, []byte{table + 1}, func(key, _ []byte) bool {
			store, name, _ := splitProfileKey(key[1:])
			if p := (ProfileName{store, name}); !seen[p] {
				seen[p] = true
				list = append(list, p)
			}
			return true
		})
	}
	return list, r.err
}

// DecodeRow reads a row as every table would, one after the other.
func DecodeRow(row []byte) []error {
	var errs []error
	_, err := decodeGrant(row)
	errs = append(errs, err)
	_, err = decodeProfile("s", "k", row)
	errs = append(errs, err)
	_, _, err = decodeData(1, row)
	errs = append(errs, err)
	_, err = decodeMessage(1, row)
	errs = append(errs, err)
	_, err = decodeServer(1, row)
	errs = append(errs, err)
	_, err = decodeNode("n", row)
	return append(errs, err)
}

// Encoded is a row of each of those tables, for a test to read back.
func Encoded(g GrantRow, p Profile, m Message, s Server, n Node) [][]byte {
	return [][]byte{
		g.encode(), p.encode(), encodeData(Revision{Codec: p.Codec, SavedMS: p.SavedMS, Token: p.Token}, m.Body), m.encode(), s.encode(), n.encode(),
	}
}

// CheckRemembered holds the rows that the machine remembers against the tables, and says how many it remembers.
func (m *Machine) CheckRemembered() (int, error) {
	for key, want := range m.rows.rows {
		r := tableReader{from: m.db}
		got, ok := r.getRow([]byte(key))
		if r.err != nil {
			return 0, r.err
		}
		if ok != (want != nil) || !bytes.Equal(got, want) {
			return 0, fmt.Errorf("row %q: the tables hold %x (%t), the machine remembers %x", key, got, ok, want)
		}
	}
	return len(m.rows.rows), nil
}

// RowCacheRows is how many rows the machine remembers at most.
const RowCacheRows = rowCacheRows

// Weight is what a command costs.
type Weight struct {
	Result Result
	Rows   int // written or deleted, a range as one
	Bytes  int // of them
	Ranges int // deleted while the batch may still be read
	Took   time.Duration
}

// Weigh carries out the one command of an entry, and takes it back.
func (m *Machine) Weigh(log Log) (Weight, error) {
	batch := m.db.NewIndexedBatch()
	defer batch.Close()
	cold := &Machine{position: m.position, build: m.build, rows: newRowCache(), policies: policyCache{}} // nothing cached
	t := newTransaction(cold, batch)
	began := time.Now()
	out, err := t.applyEntry(log)
	if err != nil {
		return Weight{}, err
	}
	ranges := 0
	for rows := batch.Reader(); len(rows) > 0; {
		kind, _, _, ok, err := rows.Next()
		if err != nil || !ok {
			return Weight{}, errors.Join(errors.New("the batch ends too early"), err)
		}
		if kind == pebble.InternalKeyKindRangeDelete {
			ranges++
		}
	}
	t.finishSweep()
	return Weight{out.Results[0], int(batch.Count()), batch.Len(), ranges, time.Since(began)}, t.err
}

// Reads counts what a view reads.
type Reads struct {
	pebble.Reader
	Gets, Scans int
}

// CountReads counts the reads of a view from here on.
func (v *View) CountReads() *Reads {
	reads := &Reads{Reader: v.snapshot}
	v.snapshot = reads
	return reads
}

func (r *Reads) Get(key []byte) ([]byte, io.Closer, error) {
	r.Gets++
	return r.Reader.Get(key)
}

func (r *Reads) NewIter(o *pebble.IterOptions) (*pebble.Iterator, error) {
	r.Scans++
	return r.Reader.NewIter(o)
}

// Bodies is how many bodies of messages there are.
func (v *View) Bodies(store, key string) (n int, err error) {
	r := v.tableReader()
	prefix := profileKey(tableBody, store, key)
	r.scanRows(prefix, keyAfterPrefix(prefix), func(_, _ []byte) bool { n++; return true })
	return n, r.err
}
