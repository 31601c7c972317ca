package lock

import (
	"crypto/sha256"
	"encoding/binary"
)

// Binding identifies a cluster and its epoch in every request: the first eight bytes of SHA-256 over the cluster's id and
// then the epoch, as big-endian numbers. It is never 0, which on the wire means absent.
func Binding(cluster []byte, epoch uint64) uint64 {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(append([]byte(nil), cluster...), epoch))
	return max(binary.BigEndian.Uint64(sum[:]), 1)
}

// Registration identifies the registration of an incarnation in every request of its process: the first eight bytes,
// big-endian, of the nonce that it registered with. It is 0 for a nonce that is too short.
func Registration(nonce []byte) uint64 {
	if len(nonce) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64(nonce)
}
