package lock_test

import (
	"testing"

	"github.com/profilenode/profilenode/lock"
)

// What a client of one build computes, a node of another compares.
func TestHeldHashIsFixed(t *testing.T) {
	if got, want := lock.HeldHash(0, "players", "ada", lock.TokenAt(7, 1)), uint64(0x1f2fd2bf6663278e); got != want {
		t.Errorf("the hash of one profile is %#x, want %#x", got, want)
	}
}

func TestHeldHashIsOfASet(t *testing.T) {
	type member struct {
		key   string
		token lock.Token
	}
	fold := func(members ...member) uint64 {
		set := uint64(0)
		for _, m := range members {
			set = lock.HeldHash(set, "players", m.key, m.token)
		}
		return set
	}
	x, y, z := member{"x", lock.TokenAt(7, 0)}, member{"y", lock.TokenAt(7, 1)}, member{"z", lock.TokenAt(8, 0)}
	if fold(x, y, z) != fold(z, x, y) {
		t.Error("the order in which profiles were taken up shows")
	}
	if fold(x, y, z, y) != fold(x, z) {
		t.Error("a profile that was let go is still in the hash")
	}
	if fold(x, x) != 0 {
		t.Error("the empty set is not 0")
	}
	seen := map[uint64]member{0: {}}
	for index := uint64(1); index < 2000; index++ {
		for _, key := range []string{"p1", "p2", "p3"} {
			for place := range 2 {
				m := member{key, lock.TokenAt(index, place)}
				if other, ok := seen[fold(m)]; ok {
					t.Fatalf("%v and %v have one hash", m, other)
				}
				seen[fold(m)] = m
			}
		}
	}
}

// Two profiles granted by one step of a walk have one token: their hashes must not cancel each other.
func TestHeldHashOfOneToken(t *testing.T) {
	token := lock.TokenAt(14, 0)
	set := lock.HeldHash(lock.HeldHash(0, "players", "p3", token), "players", "p4", token)
	if set == 0 {
		t.Error("two profiles under one token hash like none")
	}
	if lock.HeldHash(0, "ab", "c", token) == lock.HeldHash(0, "a", "bc", token) {
		t.Error("store and key run into each other")
	}
}
