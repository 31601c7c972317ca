package fsm

import (
	"maps"
	"slices"

	"github.com/profilenode/profilenode/lock"
)

// Profile is a profile without its data.
type Profile struct {
	Store, Key string
	Exists     bool   // false: never saved, or removed
	Revision   uint64 // rises by one with each save, set and remove; a removed profile keeps it
	Codec      uint32
	Size       uint64
	Hash       [32]byte // SHA-256 of the data
	CreatedMS  int64
	SavedMS    int64
	Token      lock.Token // of the last writer's grant; 0: it was set without one
	Tags       map[string]string
	Oldest     uint64 // the oldest revision whose data is kept
}

func (p Profile) encode() []byte {
	w := newRowWriter(96 + sizeOfTags(p.Tags))
	w.writeBool(p.Exists)
	w.writeUint(p.Revision)
	w.writeUint(uint64(p.Codec))
	w.writeUint(p.Size)
	w.writeBytes(p.Hash[:])
	w.writeInt(p.CreatedMS)
	w.writeInt(p.SavedMS)
	w.writeUint(uint64(p.Token))
	w.writeUint(p.Oldest)
	w.writeUint(uint64(len(p.Tags)))
	for _, name := range slices.Sorted(maps.Keys(p.Tags)) {
		w.writeString(name)
		w.writeString(p.Tags[name])
	}
	return w
}

func decodeProfile(store, key string, row []byte) (Profile, error) {
	f := newRowReader(row)
	p := Profile{Store: store, Key: key, Exists: f.readBool(), Revision: f.readUint(), Codec: uint32(f.readUint()), Size: f.readUint()}
	copy(p.Hash[:], f.readBytes())
	p.CreatedMS, p.SavedMS, p.Token, p.Oldest = f.readInt(), f.readInt(), lock.Token(f.readUint()), f.readUint()
	if n := f.readUint(); n > 0 && !f.bad {
		p.Tags = make(map[string]string, min(n, MaxTags))
		for ; n > 0 && !f.bad; n-- {
			name := f.readString()
			p.Tags[name] = f.readString()
		}
	}
	return p, f.finishRow(tableRecord)
}

func (r *tableReader) readRecord(store, key string) Profile {
	row, ok := r.getRow(profileKey(tableRecord, store, key))
	if !ok {
		return Profile{Store: store, Key: key}
	}
	p, err := decodeProfile(store, key, row)
	r.noteError(err)
	return p
}

// WriteKind is the kind of command that made a revision.
type WriteKind uint8

const (
	WriteSave   WriteKind = iota
	WriteSet              // written without a session
	WriteRemove           // removed; the revision has no data
)

// Revision is one entry of a profile's history, without its data.
type Revision struct {
	Revision uint64
	Codec    uint32
	Size     uint64
	SavedMS  int64
	Token    lock.Token
	Kind     WriteKind
}

// encodeData encodes the row of a revision. Each revision's data has one row, which is written once and deleted once, and
// the newest row is the current data. So a save writes its data once, and the history costs no second copy. Only this file
// knows that layout.
func encodeData(h Revision, data []byte) []byte {
	w := newRowWriter(32 + len(data))
	w.writeUint(uint64(h.Codec))
	w.writeInt(h.SavedMS)
	w.writeUint(uint64(h.Token))
	w.writeUint(uint64(h.Kind))
	w.writeBytes(data)
	return w
}

func decodeData(revision uint64, row []byte) (Revision, []byte, error) {
	f := newRowReader(row)
	h := Revision{Revision: revision, Codec: uint32(f.readUint()), SavedMS: f.readInt(), Token: lock.Token(f.readUint()), Kind: WriteKind(f.readUint())}
	data := f.readBytes()
	h.Size = uint64(len(data))
	return h, data, f.finishRow(tableData)
}

// maxThinned bounds how many old revisions one command drops, after a policy has been lowered.
const maxThinned = 32

// recordTable holds the profiles: a record of each, and the data of each revision that is kept.
type recordTable struct {
	*tableWriter
	grants   *grantTable
	messages *messageTable
	policies *policyTable
	audits   *auditTable
}

// writeRevision stores a profile's next revision, and drops those beyond the store's history.
func (t *recordTable) writeRevision(p Profile, kind WriteKind, data []byte) {
	t.putRow(profileKeyAt(p.Store, p.Key, p.Revision), encodeData(Revision{
		Codec: p.Codec, SavedMS: p.SavedMS, Token: p.Token, Kind: kind,
	}, data))
	keep := uint64(max(t.policies.policyValueOf(p.Store, PolicyHistory), 1))
	if p.Oldest == 0 {
		p.Oldest = p.Revision
	}
	for step := 0; step < maxThinned && p.Oldest+keep <= p.Revision; step++ {
		t.deleteRow(profileKeyAt(p.Store, p.Key, p.Oldest))
		p.Oldest++
	}
	t.putRow(profileKey(tableRecord, p.Store, p.Key), p.encode())
}

func profileKeyAt(store, key string, revision uint64) []byte {
	return numberedKey(tableData, store, key, revision)
}
