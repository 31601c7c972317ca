// Package load makes profiles (body.go) and saves them as game servers do (saves.go).
package load

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strconv"
)

// Key is the key of the profile with this number.
func Key(number uint64) string { return fmt.Sprintf("player-%09d", number) }

// kinds are of items.
var kinds = []string{
	"iron sword", "oak shield", "healing potion", "rope", "lantern", "torch", "map of the north", "silver ring", "bow",
	"arrow", "bread", "cheese", "cloak", "boots of haste", "amulet", "scroll of recall", "ruby", "emerald", "lockpick", "drum",
}

// MakeBody is a profile as games keep them, JSON of exactly size bytes (at least 256): names that repeat, numbers that do
// not, and an identifier of random digits for each item. It packs to between a third and a half of that. The same number and
// version give the same bytes.
func MakeBody(number, version uint64, size int) []byte {
	r := rand.New(rand.NewPCG(number, version))
	b := make([]byte, 0, size+256)
	b = fmt.Appendf(b, `{"name":"%s","version":%d,"level":%d,"coins":%d,"x":%.3f,"y":%.3f,"items":[`,
		Key(number), version, r.IntN(100), r.IntN(1_000_000), r.Float64()*4096, r.Float64()*4096)
	const tail = `],"notes":"`
	var id [12]byte
	for first := true; len(b)+len(tail)+2 < size-160; first = false {
		if !first {
			b = append(b, ',')
		}
		for i := range id {
			id[i] = byte(r.Uint32())
		}
		b = append(b, `{"id":"`...)
		b = hex.AppendEncode(b, id[:])
		b = append(b, `","kind":"`...)
		b = append(b, kinds[r.IntN(len(kinds))]...)
		b = append(b, `","count":`...)
		b = strconv.AppendInt(b, int64(r.IntN(64)+1), 10)
		b = append(b, `,"wear":`...)
		b = strconv.AppendInt(b, int64(r.IntN(1000)), 10)
		b = append(b, `,"bound":true}`...)
	}
	b = append(b, tail...)
	for len(b) < size-2 {
		word := kinds[r.IntN(len(kinds))]
		b = append(b, word[:min(len(word), size-2-len(b))]...)
	}
	return append(b, `"}`...)
}
