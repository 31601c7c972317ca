package cluster

import "testing"

func TestWhoIsOdd(t *testing.T) {
	for _, test := range []struct {
		name   string
		voters string // of a, b, c, d, e
		said   map[string]uint64
		want   digestFinding
	}{
		{"alone", "abc", map[string]uint64{"a": 1}, digestsUncompared},
		{"alike", "abc", map[string]uint64{"a": 1, "b": 1, "c": 1}, digestsEqual},
		{"this one is odd", "abc", map[string]uint64{"a": 1, "b": 2, "c": 2}, ownDigestDiffers},
		{"another is odd", "abc", map[string]uint64{"a": 2, "b": 2, "c": 1}, otherDigestDiffers},
		{"one against one, one is down", "abc", map[string]uint64{"a": 1, "b": 2}, noDigestMajority},
		{"one against one of two", "ab", map[string]uint64{"a": 1, "b": 2}, noDigestMajority},
		{"all differ", "abc", map[string]uint64{"a": 1, "b": 2, "c": 3}, noDigestMajority},
		{"two of five are no majority", "abcde", map[string]uint64{"a": 1, "b": 2, "c": 2, "d": 3, "e": 4}, noDigestMajority},
		{"two of four are no majority", "abcd", map[string]uint64{"a": 1, "b": 2, "c": 2}, noDigestMajority},
		{"an odd learner", "bcd", map[string]uint64{"a": 1, "b": 2, "c": 2}, ownDigestDiffers},
		{"a learner's word does not count", "bcd", map[string]uint64{"a": 1, "b": 1, "c": 2}, noDigestMajority},
	} {
		var voters []string
		for _, id := range test.voters {
			voters = append(voters, string(id))
		}
		if got := classifyDigests("a", voters, test.said); got != test.want {
			t.Errorf("%s: found %d, want %d", test.name, got, test.want)
		}
	}
}

// Whatever the log is cut into, each entry's digest is remembered; an index beyond or long past has none.
func TestDigestsAreOfEntries(t *testing.T) {
	var d digests
	d.resetTo(7, 70)
	for i := uint64(9); i < 9+digestsKept; i++ {
		d.addDigest(i, 10*i)
	}
	for index, want := range map[uint64]uint64{0: 0, 7: 0, 8: 0, 9: 90, digestsKept: 10 * digestsKept, digestsKept + 8: 10 * (digestsKept + 8), digestsKept + 9: 0} {
		if got, ok := d.digestAt(index); got != want || ok != (want != 0) {
			t.Errorf("after entry %d: %d %v, want %d", index, got, ok, want)
		}
	}
	d.resetTo(20, 200)
	if _, ok := d.digestAt(21); ok {
		t.Error("digests outlived the tables that they were of")
	}
	if got, ok := d.digestAt(20); got != 200 || !ok || d.lastIndex() != 20 {
		t.Errorf("after an install: %d %v, newest %d", got, ok, d.lastIndex())
	}
}
