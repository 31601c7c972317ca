package lock

// HeldHash adds one held profile, with its token, to the hash of a set of held profiles, or removes it: the hash is the
// XOR over the members, in any order. The tables and the owner each keep such a hash, so that a renewal can compare the two
// sets by eight bytes. The profile's name is hashed too, since two profiles of an owner may have the same token, granted by
// the same step of a walk.
func HeldHash(set uint64, store, key string, token Token) uint64 {
	return set ^ mixBits(mixBits(uint64(token))^nameHash(store, key))
}

// nameHash is FNV-1a of store and key, each ended by a zero byte, which neither may contain.
func nameHash(store, key string) uint64 {
	const offset, prime = 0xcbf29ce484222325, 0x100000001b3
	h := uint64(offset)
	for _, text := range [2]string{store, key} {
		for i := range len(text) {
			h = (h ^ uint64(text[i])) * prime
		}
		h *= prime
	}
	return h
}

// mixBits is the finalizer of splitmix64 (Steele, Lea, Flood 2014): tokens differ in few bits, their hashes in about half
// of them, so the XOR of several does not cancel out by chance.
func mixBits(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
