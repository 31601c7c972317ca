package raftlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/hashicorp/raft"
)

// The key of an entry is entryPrefix and its index, big-endian, so that Pebble sorts entries by index. Its value:
//
//	format 1 byte | type 1 | index 8 | term 8 | appended 8 | bytes of extensions 4 | extensions | data | XXH64 of all before 8
//
// Numbers are big-endian. appended is raft's AppendedAt in Unix nanoseconds, 0 if it is not set. The value repeats the
// index so that a value under a wrong key is detected.
const (
	entryFormat = 1
	entryHead   = 1 + 1 + 8 + 8 + 8 + 4 // bytes before the extensions
	entrySum    = 8                     // bytes of the checksum
	entryPrefix = 'e'
)

func entryKey(index uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{entryPrefix}, index)
}

// entryEnd returns the upper bound of the keys of all entries, exclusive.
func entryEnd() []byte { return []byte{entryPrefix + 1} }

func entryIndex(key []byte) (uint64, error) {
	if len(key) != 9 || key[0] != entryPrefix {
		return 0, fmt.Errorf("key %x is none of an entry", key)
	}
	return binary.BigEndian.Uint64(key[1:]), nil
}

func entrySize(l *raft.Log) int { return entryHead + len(l.Extensions) + len(l.Data) + entrySum }

// encodeEntry encodes l into value, which must have the length entrySize(l).
func encodeEntry(value []byte, l *raft.Log) {
	var appended int64
	if !l.AppendedAt.IsZero() {
		appended = l.AppendedAt.UnixNano()
	}
	b := append(value[:0], entryFormat, byte(l.Type))
	b = binary.BigEndian.AppendUint64(b, l.Index)
	b = binary.BigEndian.AppendUint64(b, l.Term)
	b = binary.BigEndian.AppendUint64(b, uint64(appended))
	b = binary.BigEndian.AppendUint32(b, uint32(len(l.Extensions)))
	b = append(b, l.Extensions...)
	b = append(b, l.Data...)
	binary.BigEndian.AppendUint64(b, xxhash.Sum64(b))
}

var (
	errEntryDamaged = errors.New("its checksum is wrong")
	errEntryMissing = errors.New("it is missing in the middle of the log")
)

// decodeEntry decodes value into l. It returns an error if value is damaged or is not the entry at index. It copies the
// bytes that l keeps, since value belongs to Pebble.
func decodeEntry(value []byte, index uint64, l *raft.Log) error {
	if len(value) < entryHead+entrySum {
		return fmt.Errorf("%d bytes are no entry", len(value))
	}
	body, sum := value[:len(value)-entrySum], binary.BigEndian.Uint64(value[len(value)-entrySum:])
	if xxhash.Sum64(body) != sum {
		return errEntryDamaged
	}
	if body[0] != entryFormat {
		return fmt.Errorf("its format is %d, and this build reads %d", body[0], entryFormat)
	}
	got := raft.Log{
		Type:  raft.LogType(body[1]),
		Index: binary.BigEndian.Uint64(body[2:]),
		Term:  binary.BigEndian.Uint64(body[10:]),
	}
	if got.Index != index {
		return fmt.Errorf("it holds entry %d", got.Index)
	}
	if appended := int64(binary.BigEndian.Uint64(body[18:])); appended != 0 {
		got.AppendedAt = time.Unix(0, appended)
	}
	extensions, rest := uint64(binary.BigEndian.Uint32(body[26:])), body[entryHead:]
	if extensions > uint64(len(rest)) {
		return fmt.Errorf("%d bytes of extensions do not fit into %d", extensions, len(rest))
	}
	kept := append([]byte(nil), rest...)
	if extensions > 0 {
		got.Extensions = kept[:extensions:extensions]
	}
	if uint64(len(kept)) > extensions {
		got.Data = kept[extensions:]
	}
	*l = got
	return nil
}
