package fsm

import (
	"encoding/binary"
	"strconv"
)

// dueKind is what is dropped when its time has come.
type dueKind byte

const (
	dueRevisions dueKind = 1 // the earlier revisions of a removed profile; the number is the revision of its removal
	dueMessage   dueKind = 2 // a message to a profile that was never saved; the number is its id
)

const (
	minutesOfDay   = 24 * 60
	maxDueDeletes  = 4096 // rows that one DropDue deletes, about
	longestDueDays = 3650 // that a policy may say
)

// dueKey sorts by the minute, as CountMinute counts them: timestamps would drop everything early after clocks were set forward.
func dueKey(minute uint64, kind dueKind, store, key string, number uint64) []byte {
	k := append(binary.BigEndian.AppendUint64([]byte{tableDue}, minute), byte(kind))
	return binary.BigEndian.AppendUint64(appendText(k, store, key), number)
}

type dueRow struct {
	kind       dueKind
	store, key string
	number     uint64
}

func decodeDueKey(key []byte) dueRow {
	d := dueRow{kind: dueKind(key[9])}
	var number []byte
	d.store, d.key, number = splitProfileKey(key[10:])
	d.number = binary.BigEndian.Uint64(number)
	return d
}

// addDue has something dropped when that many days of minutes have been counted.
func (t *tableWriter) addDue(days int64, kind dueKind, store, key string, number uint64) {
	minute := t.readMinute() + uint64(max(days, 0))*minutesOfDay
	t.putRow(dueKey(minute, kind, store, key, number), newRowWriter(0))
}

// droppedKey is the row with the minute before which everything is dropped. What lies there is tombstones only, which would be
// walked each time. A row that is added is of the minute that is counted, or a later one.
var droppedKey = []byte{tableDue}

// dueBefore returns the keys of the rows of minutes before that one, in order.
func (r *tableReader) dueBefore(minute uint64, limit int) (keys [][]byte) {
	dropped, _ := r.readNumber(droppedKey)
	if minute <= dropped {
		return nil
	}
	r.scanRows(dueKey(dropped, 0, "", "", 0), dueKey(minute, 0, "", "", 0), func(key, _ []byte) bool {
		keys = append(keys, append([]byte(nil), key...))
		return len(keys) < limit
	})
	return keys
}

// dropDue drops what is due, some at a time.
func (t *recordTable) dropDue(c *DropDue) Result {
	room, deletes, now := min(int(c.Limit), MaxStep), 0, t.readMinute()
	due := t.dueBefore(now+1, room+1)
	for _, key := range due {
		if room == 0 || deletes >= maxDueDeletes {
			return Result{More: true}
		}
		t.deleteRow(key)
		switch row := decodeDueKey(key); row.kind {
		case dueRevisions:
			deletes += t.dropRevisions(row)
		case dueMessage:
			deletes += t.messages.dropUnclaimed(row)
		}
		room--
	}
	if len(due) > 0 {
		t.putNumber(droppedKey, now)
	}
	return Result{}
}

// dropRevisions leaves the tombstone of a removed profile alone, unless the profile was written since.
func (t *recordTable) dropRevisions(due dueRow) (deletes int) {
	p := t.readRecord(due.store, due.key)
	if p.Exists || p.Revision != due.number || p.Oldest == p.Revision {
		return 0
	}
	for ; p.Oldest < p.Revision; p.Oldest++ {
		t.deleteRow(profileKeyAt(p.Store, p.Key, p.Oldest))
		deletes++
	}
	t.putRow(profileKey(tableRecord, p.Store, p.Key), p.encode())
	return deletes
}

// dropUnclaimed drops a message to a profile that was never saved. While somebody has a session on it, the message may be about to
// be cleared by its first save: then it waits for another day.
func (t *messageTable) dropUnclaimed(due dueRow) (deletes int) {
	if t.readRecord(due.store, due.key).Revision > 0 || !t.hasRow(numberedKey(tableMessage, due.store, due.key, due.number)) {
		return 0
	}
	if t.grants.readGrantPassedOn(due.store, due.key).Owner != 0 {
		t.addDue(1, dueMessage, due.store, due.key, due.number)
		return 0
	}
	t.clearMessages(due.store, due.key, []uint64{due.number})
	t.audits.addAudit(AuditDropMessage, 0, 0, Audit{Store: due.store, Key: due.key, Dropped: 1, Reason: "message " + strconv.FormatUint(due.number, 10)})
	return 2
}

// DueBefore says whether something is to be dropped at a minute before that one, so that DropDue would find it then.
func (v *View) DueBefore(minute uint64) (bool, error) {
	r := v.tableReader()
	return len(r.dueBefore(minute, 1)) > 0, r.err
}
