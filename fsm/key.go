package fsm

import (
	"encoding/binary"

	"github.com/profilenode/profilenode/lock"
)

// The letters of the tables. A key is its table's letter, then parts that sort in the order of their values: numbers are
// big-endian, store and key each end with a zero byte, which neither may contain.
const (
	tablePosition  = 'c' // one row: applied index, term, level, cluster id, epoch, timestamp, offset, digest
	tablePolicy    = 'P' // store, name -> value; the empty store holds the defaults
	tableNode      = 'N' // node id -> addresses
	tableClass     = 'T' // name -> times of a timing class
	tableRecord    = 'r' // store, key -> the profile without its data
	tableData      = 'd' // store, key, revision -> data; the current revision's too
	tableGrant     = 'g' // store, key -> grant
	tableOwned     = 'G' // incarnation, store, key -> token, ticket: the grants of each
	tableContested = 'w' // incarnation, store, key -> place: its profiles that have waiters, or that were revoked
	tableLiving    = 'v' // incarnation -> place: those alive
	tableServer    = 's' // incarnation -> name, addresses, timing class, alive or ended
	tableActivity  = 'S' // incarnation -> the fields that change with its commands
	tableName      = 'n' // name -> living incarnation
	tableNonce     = 'o' // nonce -> incarnation
	tableEnded     = 'e' // leftovers, minute of its end, incarnation: in the order in which ForgetEnded removes them
	tableForgotten = 'E' // leftovers -> minute and incarnation that ForgetEnded removed last
	tableMinute    = 'z' // one row: the minutes counted

	tableContestedPlace = 'W' // place -> incarnation, store, key, see denseList; without a place, the count
	tableLivingPlace    = 'V' // place -> incarnation; likewise
	tableAnswer         = 'a' // incarnation, number -> answer
	tablePart           = 'p' // incarnation, number, part -> bytes
	tablePartBytes      = 'q' // incarnation -> bytes of its unreferenced parts
	tableInbox          = 'b' // store, key -> next message id, count
	tableMessage        = 'm' // store, key, id -> message, without its body
	tableBody           = 'M' // store, key, id -> body of a message
	tableOwnedInbox     = 'u' // incarnation, store, key: its profiles with messages that are offered
	tableAudit          = 'A' // ring, place in it -> audit
	tableAuditBook      = 'B' // one row: the next number, and the places of each ring that are kept
	tableAlarm          = 'l' // code -> an alarm that is kept until it is cleared
	tableDue            = 'D' // minute, kind, store, key, number: what is dropped once that many minutes are counted
	tableComparison     = 'C' // one row: how far the comparison of the nodes' rows has come
	tableExpected       = 'j' // address that a node may join from
	tableSuspected      = 'x' // one row: the last leader that did not hear most game servers and handed over
)

func appendText(key []byte, parts ...string) []byte {
	for _, p := range parts {
		key = append(key, p...)
		key = append(key, 0)
	}
	return key
}

func profileKey(table byte, store, key string) []byte {
	return appendText(append(make([]byte, 0, len(store)+len(key)+3+8), table), store, key)
}

func numberedKey(table byte, store, key string, n uint64) []byte {
	return binary.BigEndian.AppendUint64(profileKey(table, store, key), n)
}

func serverKey(table byte, server lock.Incarnation) []byte {
	return binary.BigEndian.AppendUint64(append(make([]byte, 0, 9), table), uint64(server))
}

func ownedKey(table byte, server lock.Incarnation, store, key string) []byte {
	return appendText(serverKey(table, server), store, key)
}

func answerKey(server lock.Incarnation, number uint64) []byte {
	return binary.BigEndian.AppendUint64(serverKey(tableAnswer, server), number)
}

func partKey(server lock.Incarnation, number uint64, part uint32) []byte {
	k := binary.BigEndian.AppendUint64(serverKey(tablePart, server), number)
	return binary.BigEndian.AppendUint32(k, part)
}

func endedKey(left leftovers, minute uint64, server lock.Incarnation) []byte {
	k := binary.BigEndian.AppendUint64([]byte{tableEnded, byte(left)}, minute)
	return binary.BigEndian.AppendUint64(k, uint64(server))
}

// keyAfterPrefix returns the first key after all keys that begin with prefix.
func keyAfterPrefix(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i] < 0xff {
			end[i]++
			return end[:i+1]
		}
	}
	return nil
}

// splitProfileKey takes store and key off the rest of a key.
func splitProfileKey(rest []byte) (store, key string, tail []byte) {
	store, rest = splitTextPart(rest)
	key, rest = splitTextPart(rest)
	return store, key, rest
}

func splitTextPart(rest []byte) (string, []byte) {
	for i, b := range rest {
		if b == 0 {
			return string(rest[:i]), rest[i+1:]
		}
	}
	return string(rest), nil
}

// incarnationOf returns the incarnation at the end of a key.
func incarnationOf(key []byte) lock.Incarnation {
	return lock.Incarnation(binary.BigEndian.Uint64(key[len(key)-8:]))
}
