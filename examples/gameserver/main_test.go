package main

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/profilenode/profilenode/client"
)

func TestParse(t *testing.T) {
	t.Setenv("PROFILENODE_ADDR", "127.0.0.1:8400,127.0.0.1:8410")
	o, err := parse([]string{"--players", "7", "--autosave", "1s", "--verify"})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"127.0.0.1:8400", "127.0.0.1:8410"}; !slices.Equal(o.client.Seeds, want) {
		t.Errorf("addresses: got %v, want %v", o.client.Seeds, want)
	}
	if o.players != 7 || o.client.Autosave != time.Second || !o.verify || o.client.Name == "" {
		t.Errorf("got %+v", o)
	}
	for flag, want := range map[string]string{"--players=0": "players", "--autosave=1ms": "autosave", "extra": "no flag"} {
		if _, err := parse([]string{flag}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error that says %q", flag, err, want)
		}
	}
}

func TestEndingIsGoodOnlyIfNothingIsLeft(t *testing.T) {
	ref := []client.Ref{{Store: "players", Key: "ann"}}
	for _, c := range []struct {
		name    string
		lost    int
		closing error
		verdict *Verdict
		good    bool
	}{
		{"all saved", 0, nil, nil, true},
		{"read back", 0, nil, &Verdict{Read: 3}, true},
		{"unsaved", 0, &client.CloseError{Unsaved: ref, Cause: client.ErrUnavailable}, nil, false},
		{"unknown", 0, &client.CloseError{Unknown: ref, Cause: client.ErrUnknown}, nil, false},
		{"other fault", 0, errors.New("broken"), nil, false},
		{"lost", 1, nil, nil, false},
		{"differs", 0, nil, &Verdict{Read: 3, Differ: []string{"ann"}}, false},
		{"unread", 0, nil, &Verdict{Unread: []string{"ann"}}, false},
	} {
		end := Ending{Verified: c.verdict}
		end.note(Second{Total: Counts{Lost: c.lost}}, time.Second, c.closing)
		var out strings.Builder
		end.print(&out, false)
		if end.good() != c.good || c.verdict == nil && strings.Contains(out.String(), "Nothing stayed unsaved") != c.good {
			t.Errorf("%s: got good %v, want %v:\n%s", c.name, end.good(), c.good, out.String())
		}
	}
}
