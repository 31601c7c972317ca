package nemesis

import "testing"

func TestEveryNemesisSaysWhatItDoesAndHowItShows(t *testing.T) {
	const least = 40 // kinds
	seen := map[string]bool{}
	for _, n := range All() {
		if n.Name == "" || n.Text == "" || n.Effect == "" || n.Bound == 0 || n.inject == nil {
			t.Errorf("%+v is not complete", n)
		}
		if seen[n.Name] {
			t.Errorf("two nemeses are called %s", n.Name)
		}
		seen[n.Name] = true
	}
	if len(seen) < least {
		t.Errorf("there are %d kinds of fault, want %d", len(seen), least)
	}
	if _, err := Find("kill-leader", "no such"); err == nil {
		t.Error("a nemesis that does not exist was found")
	}
}
