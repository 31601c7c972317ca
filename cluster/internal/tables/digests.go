package tables

import "sync"

const digestsKept = 1 << 14 // number of entries; at the highest rate of entries these are some seconds

// Digests holds the digests of this node's tables after each of the last entries. Nodes compare their digests at one index.
// It keeps one for each entry, not for each batch, since each node divides the log into batches in its own way.
type Digests struct {
	mu     sync.Mutex
	ring   [digestsKept]struct{ index, digest uint64 } // the digest after index is at ring[index % digestsKept]
	newest uint64                                      // the highest index in ring
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

// At returns the digest after the entry at index. ok is false if this process has not applied that entry, if the entry
// holds no commands, or if it is too old.
func (d *Digests) At(index uint64) (digest uint64, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	k := d.ring[index%digestsKept]
	if k.index != index || index == 0 {
		return 0, false
	}
	return k.digest, true
}

// LastIndex returns the index of the newest digest, 0 if there is none.
func (d *Digests) LastIndex() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.newest
}
