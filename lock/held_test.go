package lock_test

import (
	"testing"

	"github.com/profilenode/profilenode/lock"
)

// The first outputs of splitmix64 from seed 0, as published with it: a client of another build computes the same.
func TestHeldHashIsSplitmix64(t *testing.T) {
	const golden = 0x9e3779b97f4a7c15
	outputs := []uint64{0xe220a8397b1dcdaf, 0x6e789e6aa1b965f4, 0x06c45d188009454f}
	for i, want := range outputs {
		seed := uint64(i)
		seed *= golden
		if got := lock.HeldHash(0, lock.Token(seed)); got != want {
			t.Errorf("output %d is %#x, want %#x", i, got, want)
		}
	}
}

func TestHeldHashIsOfASet(t *testing.T) {
	fold := func(tokens ...lock.Token) uint64 {
		set := uint64(0)
		for _, token := range tokens {
			set = lock.HeldHash(set, token)
		}
		return set
	}
	x, y, z := lock.TokenAt(7, 0), lock.TokenAt(7, 1), lock.TokenAt(8, 0)
	if fold(x, y, z) != fold(z, x, y) {
		t.Error("the order in which tokens were taken up shows")
	}
	if fold(x, y, z, y) != fold(x, z) {
		t.Error("a token that was let go is still in the hash")
	}
	if fold(x, x) != 0 {
		t.Error("the empty set is not 0")
	}
	seen := map[uint64]lock.Token{0: 0}
	for index := uint64(1); index < 2000; index++ {
		for place := range 3 {
			token := lock.TokenAt(index, place)
			if other, ok := seen[fold(token)]; ok {
				t.Fatalf("tokens %d and %d have one hash", token, other)
			}
			seen[fold(token)] = token
		}
	}
}
