package fsm

import (
	"maps"
	"slices"

	"github.com/profilenode/profilenode/lock"
)

// Profile is what is known of a profile, without its data.
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
	w := newRow(96 + tagBytes(p.Tags))
	w.bool(p.Exists)
	w.uint(p.Revision)
	w.uint(uint64(p.Codec))
	w.uint(p.Size)
	w.bytes(p.Hash[:])
	w.int(p.CreatedMS)
	w.int(p.SavedMS)
	w.uint(uint64(p.Token))
	w.uint(p.Oldest)
	w.uint(uint64(len(p.Tags)))
	for _, name := range slices.Sorted(maps.Keys(p.Tags)) {
		w.string(name)
		w.string(p.Tags[name])
	}
	return w
}

func decodeProfile(store, key string, row []byte) (Profile, error) {
	f := readRow(row)
	p := Profile{Store: store, Key: key, Exists: f.bool(), Revision: f.uint(), Codec: uint32(f.uint()), Size: f.uint()}
	copy(p.Hash[:], f.bytes())
	p.CreatedMS, p.SavedMS, p.Token, p.Oldest = f.int(), f.int(), lock.Token(f.uint()), f.uint()
	if n := f.uint(); n > 0 && !f.bad {
		p.Tags = make(map[string]string, min(n, MaxTags))
		for ; n > 0 && !f.bad; n-- {
			name := f.string()
			p.Tags[name] = f.string()
		}
	}
	return p, f.done(tableRecord)
}

func (r *reader) record(store, key string) Profile {
	row, ok := r.get(profileKey(tableRecord, store, key))
	if !ok {
		return Profile{Store: store, Key: key}
	}
	p, err := decodeProfile(store, key, row)
	r.check(err)
	return p
}

// Why says what made a revision.
type Why uint8

const (
	WhySave   Why = iota
	WhySet        // without a session
	WhyRemove     // no data
)

// Revision is one entry of a profile's history, without its data.
type Revision struct {
	Revision uint64
	Codec    uint32
	Size     uint64
	SavedMS  int64
	Token    lock.Token
	Why      Why
}

// How data lies on disk is this file's business alone: one row a revision, written once, deleted once, and the newest is
// the current one. So a save writes its data once, and history costs no second copy.
func encodeData(h Revision, data []byte) []byte {
	w := newRow(32 + len(data))
	w.uint(uint64(h.Codec))
	w.int(h.SavedMS)
	w.uint(uint64(h.Token))
	w.uint(uint64(h.Why))
	w.bytes(data)
	return w
}

func decodeData(revision uint64, row []byte) (Revision, []byte, error) {
	f := readRow(row)
	h := Revision{Revision: revision, Codec: uint32(f.uint()), SavedMS: f.int(), Token: lock.Token(f.uint()), Why: Why(f.uint())}
	data := f.bytes()
	h.Size = uint64(len(data))
	return h, data, f.done(tableData)
}

// thinStep bounds how many old revisions one command drops, after a policy has been lowered.
const thinStep = 32

// write stores a profile's next revision and drops those beyond what the store keeps.
func (t *tx) write(p Profile, why Why, data []byte) {
	t.put(profileKeyAt(p.Store, p.Key, p.Revision), encodeData(Revision{
		Codec: p.Codec, SavedMS: p.SavedMS, Token: p.Token, Why: why,
	}, data))
	keep := uint64(max(t.policy(p.Store, PolicyHistory), 1))
	if p.Oldest == 0 {
		p.Oldest = p.Revision
	}
	for step := 0; step < thinStep && p.Oldest+keep <= p.Revision; step++ {
		t.delete(profileKeyAt(p.Store, p.Key, p.Oldest))
		p.Oldest++
	}
	t.put(profileKey(tableRecord, p.Store, p.Key), p.encode())
}

func profileKeyAt(store, key string, revision uint64) []byte {
	return numberedKey(tableData, store, key, revision)
}
