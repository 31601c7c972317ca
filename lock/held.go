package lock

// HeldHash folds one held token into the hash of a held set, or out of it: the set's hash is the fold of its members in
// any order. Both the log's tables and the owner keep one, so a renewal can compare sets by eight bytes.
func HeldHash(set uint64, token Token) uint64 { return set ^ mix(uint64(token)) }

// mix is the finalizer of splitmix64 (Steele, Lea, Flood 2014): tokens differ in few bits, their hashes in about half.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
