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
