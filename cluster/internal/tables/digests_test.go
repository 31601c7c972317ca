package tables

import "testing"

// There is a digest for each of the last entries, and none for entries that are too old or not applied yet.
func TestDigestsAreOfEntries(t *testing.T) {
	var d Digests
	d.resetTo(7, 70)
	for i := uint64(9); i < 9+digestsKept; i++ {
		d.add(i, 10*i)
	}
	for index, want := range map[uint64]uint64{
		0: 0, 7: 0, 8: 0, 9: 90, digestsKept: 10 * digestsKept, digestsKept + 8: 10 * (digestsKept + 8), digestsKept + 9: 0,
	} {
		if got, ok := d.At(index); got != want || ok != (want != 0) {
			t.Errorf("after entry %d: %d %v, want %d", index, got, ok, want)
		}
	}
	d.resetTo(20, 200)
	if _, ok := d.At(21); ok {
		t.Error("a digest of the replaced tables is still there")
	}
	if got, ok := d.At(20); got != 200 || !ok || d.LastIndex() != 20 {
		t.Errorf("after an install: %d %v, newest %d", got, ok, d.LastIndex())
	}
}
