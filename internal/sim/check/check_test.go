package check_test

import (
	"strings"
	"testing"
	"time"

	"github.com/profilenode/profilenode/internal/sim/check"
)

func span(from, to int) check.Span {
	return check.Span{Call: time.Duration(from) * time.Second, Return: time.Duration(to) * time.Second, Answered: true}
}

// kept is a history that keeps every promise: two sessions, a Set between them, a message applied and one that waits.
func kept() *check.History {
	a := &check.Session{Span: span(1, 2), Writer: "a", Profile: "p", Loads: 1}
	b := &check.Session{Span: span(10, 11), Writer: "b", Profile: "p", Loads: 2, Revision: 3, Loaded: check.Doc{Writer: "s", Seq: 1}}
	return &check.History{
		Sessions: []*check.Session{a, b},
		Saves: []*check.Save{
			{Span: span(3, 4), Session: a, Seq: 1, Outcome: check.Done, Revision: 1},
			{Span: span(5, 6), Session: a, Seq: 2, Outcome: check.Done, Revision: 2},
			{Span: span(8, 9), Session: a, Seq: 3, Outcome: check.Refused},
			{Span: span(12, 13), Session: b, Seq: 2, Outcome: check.Unknown},
		},
		Sets: []*check.Set{{Span: span(7, 8), Writer: "s", Profile: "p", Outcome: check.Done, Revision: 3}},
		Sends: []*check.Send{
			{Span: span(1, 2), Sender: "x", Body: "m1", Profile: "p", Outcome: check.Done},
			{Span: span(3, 4), Sender: "x", Body: "m2", Profile: "p", Outcome: check.Done},
			{Span: span(5, 6), Sender: "x", Body: "m3", Profile: "p", Outcome: check.Refused},
		},
		Reads: []*check.Read{
			{Span: span(9, 10), Profile: "p", Revision: 3, Exists: true, Doc: check.Doc{Writer: "s", Seq: 1}},
		},
		Profiles: map[string]*check.Profile{"p": {
			Key: "p", Loads: 2, Waiting: []string{"m2"},
			Revisions: []check.Revision{
				{Number: 1, Token: 5, Doc: check.Doc{Writer: "a", Seq: 1}},
				{Number: 2, Token: 5, Doc: check.Doc{Writer: "a", Seq: 2}},
				{Number: 3, Doc: check.Doc{Writer: "s", Seq: 1}},
				{Number: 4, Token: 9, Doc: check.Doc{Writer: "b", Seq: 1, Applied: []string{"m1"}}},
			},
		}},
	}
}

func TestAHistoryThatKeepsEveryPromise(t *testing.T) {
	for _, v := range check.Check(kept()) {
		t.Errorf("complains: %s", v)
	}
}

func TestEachBrokenPromiseIsFound(t *testing.T) {
	for _, test := range []struct {
		name, want string
		spoil      func(h *check.History, p *check.Profile)
	}{
		{"lost save", "is lost", func(h *check.History, _ *check.Profile) { h.Saves[1].Seq = 3; h.Saves = h.Saves[:2] }},
		{"refused save landed", "was refused at", func(h *check.History, _ *check.Profile) { h.Saves[2].Seq = 2 }},
		{"save under a later number", "at the latest", func(h *check.History, _ *check.Profile) { h.Saves[1].Revision = 1 }},
		{"write landed twice", "landed late, or twice", func(_ *check.History, p *check.Profile) { p.Revisions[1].Doc.Seq = 1 }},
		{"write after another owner's", "is of a again", func(_ *check.History, p *check.Profile) {
			p.Revisions[3].Doc.Writer, p.Revisions[3].Doc.Seq = "a", 3
		}},
		{"hole in the revisions", "stands in place", func(_ *check.History, p *check.Profile) { p.Revisions[3].Number = 5 }},
		{"token goes back", "after one under", func(_ *check.History, p *check.Profile) { p.Revisions[3].Token = 4 }},
		{"one grant for two", "were both given", func(h *check.History, _ *check.Profile) { h.Sessions[1].Loads = 1 }},
		{"grant that nobody made", "the log knows", func(_ *check.History, p *check.Profile) { p.Loads = 1 }},
		{"loaded old data", "an earlier owner, wrote", func(h *check.History, _ *check.Profile) { h.Sessions[1].Revision = 1 }},
		{"loaded other data", "the log has", func(h *check.History, _ *check.Profile) { h.Sessions[1].Loaded.Seq = 7 }},
		{"loaded what is not there", "the log ends at", func(h *check.History, _ *check.Profile) { h.Sessions[1].Revision = 9 }},
		{"gap after the load", "was to come", func(h *check.History, _ *check.Profile) {
			h.Sessions[1].Revision, h.Sessions[1].Loaded = 2, check.Doc{Writer: "a", Seq: 2}
		}},
		{"stale read", "was known before it", func(h *check.History, _ *check.Profile) {
			h.Reads[0].Revision, h.Reads[0].Doc = 2, check.Doc{Writer: "a", Seq: 2}
		}},
		{"stale load", "loaded revision 0, and 3 was known", func(h *check.History, _ *check.Profile) { h.Sessions[1].Revision = 0 }},
		{"save acknowledged after a later owner's", "asked for at 30s, is revision 2, and 3 was known before it", func(h *check.History, _ *check.Profile) {
			h.Saves[1].Call, h.Saves[1].Return = 30*time.Second, 31*time.Second
		}},
		{"set below what was known", "s, asked for at 20s, is revision 3, and 3 was known before it", func(h *check.History, _ *check.Profile) {
			h.Sets[0].Call, h.Sets[0].Return = 20*time.Second, 21*time.Second
		}},
		{"read of other data", "a read at", func(h *check.History, _ *check.Profile) { h.Reads[0].Doc.Seq = 4 }},
		{"lost set", "s was acknowledged", func(_ *check.History, p *check.Profile) { p.Revisions[2].Doc.Writer = "t" }},
		{"refused set landed", "s was refused", func(h *check.History, _ *check.Profile) { h.Sets[0].Outcome = check.Refused }},
		{"lost message", "message m2 was acknowledged", func(_ *check.History, p *check.Profile) { p.Waiting = nil }},
		{"refused message landed", "message m3 was refused", func(_ *check.History, p *check.Profile) { p.Waiting = append(p.Waiting, "m3") }},
		{"message applied twice", "applied twice", func(_ *check.History, p *check.Profile) {
			p.Revisions[3].Doc.Applied = []string{"m1", "m1"}
		}},
		{"message applied and waiting", "waits still", func(_ *check.History, p *check.Profile) { p.Waiting = []string{"m1", "m2"} }},
		{"messages out of order", "comes before it", func(_ *check.History, p *check.Profile) {
			p.Revisions[3].Doc.Applied = []string{"m2", "m1"}
			p.Waiting = nil
		}},
		{"forged save landed", "is of a forged copy", func(_ *check.History, p *check.Profile) { p.Revisions[2].Doc.Writer = check.Forged }},
		{"forged message landed", "message of a forged copy", func(_ *check.History, p *check.Profile) {
			p.Waiting = append(p.Waiting, check.Forged)
		}},
		{"effect lost again", "has the effects", func(_ *check.History, p *check.Profile) {
			p.Revisions[2].Doc.Applied = []string{"m0"}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := kept()
			test.spoil(h, h.Profiles["p"])
			found := check.Check(h)
			for _, v := range found {
				if strings.Contains(v.String(), test.want) {
					return
				}
			}
			t.Errorf("found %v, want a complaint of %q", found, test.want)
		})
	}
}
