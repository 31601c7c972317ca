package tables

import "sync"

const digestsKept = 1 << 14 // entries with a remembered digest: some seconds of the fastest log

// Digests holds the digests of this node's tables after each of the last entries. Every entry is kept, since nodes divide
// the log into batches differently.
type Digests struct {
	mu     sync.Mutex
	ring   [digestsKept]struct{ index, digest uint64 } // the entry at an index is at that index modulo digestsKept
	newest uint64
}

func (d *Digests) add(index, digest uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	k := &d.ring[index%digestsKept]
	k.index, k.digest = index, digest
	d.newest = max(d.newest, index)
}

// resetTo forgets all digests, because the tables were replaced, and adds that of the new tables.
func (d *Digests) resetTo(index, digest uint64) {
	d.mu.Lock()
	clear(d.ring[:])
	d.newest = 0
	d.mu.Unlock()
	if index > 0 {
		d.add(index, digest)
	}
}

// At returns the digest after an entry. ok is false if the entry is not applied here, holds no commands, or is too
// old.
func (d *Digests) At(index uint64) (digest uint64, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	k := d.ring[index%digestsKept]
	if k.index != index || index == 0 {
		return 0, false
	}
	return k.digest, true
}

func (d *Digests) LastIndex() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.newest
}
