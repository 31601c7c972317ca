package history_test

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/profilenode/profilenode/scripts/jepsen/internal/history"
)

// countingFile counts the writes that it gets.
type countingFile struct {
	bytes.Buffer
	writes int
	fail   bool
}

func (f *countingFile) Write(p []byte) (int, error) {
	f.writes++
	if f.fail {
		return 0, errors.New("no space")
	}
	return f.Buffer.Write(p)
}

// events is a small run: each action, each type, an operation that stays open.
func events() []history.Event {
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	return []history.Event{
		{Time: ms(1), Type: history.Invoke, Process: "g1.1", Op: 1, Action: history.Start, Key: "p1", Session: "s1", Steal: true},
		{Time: ms(2), Type: history.OK, Process: "g1.1", Op: 1, Action: history.Start, Session: "s1", Loads: 3, Token: 77, Revision: 0},
		{Time: ms(3), Type: history.Invoke, Process: "g1.1", Op: 2, Action: history.Save, Key: "p1", Session: "s1", Doc: &history.Doc{Writer: "s1", Seq: 1, List: []int{4}, Bulk: "xxxxx"}},
		{Time: ms(4), Type: history.Info, Process: "", Action: history.Fault, Name: "kill", Node: "n1", Phase: history.Begin, Detail: "a \"leader\""},
		{Time: ms(5), Type: history.Info, Process: "g1.1", Op: 2, Action: history.Save, Error: "unknown"},
		{Time: ms(6), Type: history.Invoke, Process: "g1.1", Op: 3, Action: history.Save, Key: "p1", Session: "s1", Doc: &history.Doc{Writer: "s1", Seq: 2, List: []int{4, 5}}},
		{Time: ms(7), Type: history.Fail, Process: "g1.1", Op: 3, Action: history.Save, Error: "fenced"},
		{Time: ms(8), Type: history.Invoke, Process: "g2", Op: 1, Action: history.Get, Key: "p1"},
		{Time: ms(9), Type: history.OK, Process: "g2", Op: 1, Action: history.Get, Revision: 1, Doc: &history.Doc{Writer: "s1", Seq: 1, List: []int{4}}, Node: "n2"},
		{Time: ms(10), Type: history.Invoke, Process: "g2", Op: 2, Action: history.Set, Key: "p1", Expected: history.AnyRevision, Doc: &history.Doc{Writer: "set1", Seq: 1}},
		{Time: ms(11), Type: history.Info, Action: history.Final, Key: "p1", Revision: 1, Doc: &history.Doc{Writer: "s1", Seq: 1, Applied: []string{"m"}, Coins: 5}, Detail: `["m1+7","m2"]`},
	}
}

func header() history.Header {
	coins := int64(12)
	return history.Header{
		Seed: 7, Commit: "abc", Environment: "linux", Scenario: "mixed", Started: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Settings: map[string]string{"nodes": "5"}, Coins: &coins,
	}
}

func written(t *testing.T) *countingFile {
	t.Helper()
	f := &countingFile{}
	w, err := history.NewWriter(f, header())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events() {
		if err := w.Write(e); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	f := written(t)
	if want := 1 + len(events()); f.writes != want {
		t.Errorf("%d writes of the file for %d lines: a crash would lose what was buffered", f.writes, want)
	}
	if strings.Contains(f.String(), "xxxxx") {
		t.Error("the bulk of a document is in the history")
	}
	h, got, err := history.Read(f)
	if err != nil {
		t.Fatal(err)
	}
	want := events()
	want[2].Doc.Bulk = ""
	if !reflect.DeepEqual(h, header()) || !reflect.DeepEqual(got, want) {
		t.Errorf("read %+v\n%+v\nwant %+v", h, got, want)
	}
}

func TestOnlyACutLastLineIsTolerated(t *testing.T) {
	whole := written(t).String()
	lines := strings.SplitAfter(whole, "\n")
	for _, test := range []struct {
		name, text string
		events     int // -1: an error
	}{
		{"whole", whole, len(events())},
		{"last line cut", whole[:len(whole)-9], len(events()) - 1},
		{"last line without its end", whole[:len(whole)-1], len(events()) - 1},
		{"header alone", lines[0], 0},
		{"header cut", lines[0][:9], -1},
		{"nothing", "", -1},
		{"line in the middle cut", lines[0] + lines[1][:9] + "\n" + lines[2], -1},
		{"unknown field", lines[0] + `{"t":1,"ty":"ok","act":"get","nonsense":1}` + "\n", -1},
		{"no event", lines[0] + "{}\n", -1},
	} {
		_, got, err := history.Read(strings.NewReader(test.text))
		if (err != nil) != (test.events < 0) || err == nil && len(got) != test.events {
			t.Errorf("%s: %d events, %v; want %d", test.name, len(got), err, test.events)
		}
	}
}

func TestManyGoroutinesWriteInTheOrderOfTime(t *testing.T) {
	f := &countingFile{}
	w, err := history.NewWriter(f, history.Header{})
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for g := range 8 {
		group.Go(func() {
			for i := range 100 {
				_ = w.Write(history.Event{Type: history.Invoke, Process: fmt.Sprint("g", g), Op: uint64(i), Action: history.Get, Key: "p"})
			}
		})
	}
	group.Wait()
	h, got, err := history.Read(f)
	if err != nil || len(got) != 800 || h.Started.IsZero() {
		t.Fatalf("%d events, %v, header %+v", len(got), err, h)
	}
	for i := range got[1:] {
		if got[i+1].Time < got[i].Time || got[i].Time <= 0 {
			t.Fatalf("event %d has the time %v, and the next one %v", i, got[i].Time, got[i+1].Time)
		}
	}
}

func TestAFailedWriteIsSaidFromThenOn(t *testing.T) {
	f := &countingFile{}
	w, err := history.NewWriter(f, header())
	if err != nil {
		t.Fatal(err)
	}
	f.fail = true
	if err := w.Write(events()[0]); err == nil {
		t.Error("the write failed, and nothing was said")
	}
	f.fail = false
	if err := w.Write(events()[1]); err == nil {
		t.Error("a line was written behind one that may be torn")
	}
}

func TestPair(t *testing.T) {
	operations, err := history.Pair(events())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i := range operations {
		o := &operations[i]
		got = append(got, fmt.Sprintf("%s %s %v answered=%t write=%t", o.Action(), o.Type, o.Return == history.Never, o.Answered, o.IsWrite()))
	}
	want := []string{
		"start ok false answered=true write=false",
		"save info true answered=false write=true",
		"save fail false answered=true write=true",
		"get ok false answered=true write=false",
		"set info true answered=false write=true",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if d := operations[3].Seen(); d == nil || d.Seq != 1 {
		t.Errorf("the read saw %v", d)
	}
	if text := operations[1].String(); !strings.Contains(text, "g1.1 save p1 by s1 of s1#1: unknown") {
		t.Errorf("the save says %q", text)
	}
	for name, spoil := range map[string]func(e []history.Event) []history.Event{
		"completion without invocation": func(e []history.Event) []history.Event { return e[1:] },
		"number used twice":             func(e []history.Event) []history.Event { e[2].Op = 1; return e },
		"completion of another action":  func(e []history.Event) []history.Event { e[1].Action = history.Save; return e },
		"completion of another key":     func(e []history.Event) []history.Event { e[1].Key = "p2"; return e },
		"completion before":             func(e []history.Event) []history.Event { e[1].Time = 0; return e },
	} {
		if _, err := history.Pair(spoil(events())); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestWaitingMessagesAndCoins(t *testing.T) {
	all := events()
	waiting, err := all[len(all)-1].Waiting()
	if err != nil || len(waiting) != 2 {
		t.Fatalf("waiting %q, %v", waiting, err)
	}
	for body, want := range map[string]int64{"m1+7": 7, "m2": 0, "a+b": 0, "x+-3": 0, "a+1+20": 20} {
		if got := history.CoinsOf(body); got != want {
			t.Errorf("%s carries %d coins, want %d", body, got, want)
		}
	}
	if history.GameServer("g2.5") != "g2" || history.GameServer("g2") != "g2" {
		t.Error("the game server of g2.5 is g2")
	}
}

func TestEDN(t *testing.T) {
	var out strings.Builder
	if err := history.WriteEDN(&out, events()); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	for i, want := range map[int]string{
		0:  `{:process 0, :type :invoke, :f :start, :key "p1", :value {:session "s1", :steal true}, :time 1000000}`,
		1:  `{:process 0, :type :ok, :f :start, :key "p1", :value {:session "s1", :loads 3, :token 77, :revision 0}, :time 2000000}`,
		3:  `{:process :nemesis, :type :info, :f :fault, :key "", :value {:node "n1", :phase "begin", :name "kill", :detail "a \"leader\""}, :time 4000000}`,
		4:  `{:process 0, :type :info, :f :save, :key "p1", :value {:error "unknown"}, :time 5000000}`,
		5:  `{:process 1, :type :invoke, :f :save, :key "p1", :value {:session "s1", :doc {:writer "s1", :seq 2, :list [4 5]}}, :time 6000000}`,
		9:  `{:process 2, :type :invoke, :f :set, :key "p1", :value {:expected -1, :doc {:writer "set1", :seq 1}}, :time 10000000}`,
		10: `{:process :nemesis, :type :info, :f :final, :key "p1", :value {:revision 1, :doc {:writer "s1", :seq 1, :applied ["m"], :coins 5}, :detail "[\"m1+7\",\"m2\"]"}, :time 11000000}`,
	} {
		if lines[i] != want {
			t.Errorf("line %d:\n%s\nwant\n%s", i, lines[i], want)
		}
	}
}

func TestOneProcessNumberHasOneOperationAtATime(t *testing.T) {
	var out strings.Builder
	if err := history.WriteEDN(&out, []history.Event{
		{Time: 1, Type: history.Invoke, Process: "g", Op: 1, Action: history.Get, Key: "p"},
		{Time: 2, Type: history.Invoke, Process: "g", Op: 2, Action: history.Get, Key: "p"},
		{Time: 3, Type: history.OK, Process: "g", Op: 1, Action: history.Get, Key: "p"},
		{Time: 4, Type: history.Invoke, Process: "g", Op: 3, Action: history.Get, Key: "p"},
		{Time: 5, Type: history.Fail, Process: "g", Op: 2, Action: history.Get, Key: "p"},
	}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(out.String()) {
		got = append(got, strings.Fields(line)[1])
	}
	if want := []string{"0,", "1,", "0,", "0,", "1,"}; !reflect.DeepEqual(got, want) {
		t.Errorf("processes %q, want %q", got, want)
	}
}

func TestAppendsForElle(t *testing.T) {
	var out strings.Builder
	if err := history.WriteAppendsEDN(&out, events()); err != nil {
		t.Fatal(err)
	}
	want := `{:process 0, :type :invoke, :f :txn, :value [[:r "p1" nil]], :time 1000000}
{:process 0, :type :ok, :f :txn, :value [[:r "p1" []]], :time 2000000}
{:process 0, :type :invoke, :f :txn, :value [[:append "p1" 4]], :time 3000000}
{:process 0, :type :info, :f :txn, :value [[:append "p1" 4]], :time 5000000}
{:process 1, :type :invoke, :f :txn, :value [[:append "p1" 5]], :time 6000000}
{:process 1, :type :fail, :f :txn, :value [[:append "p1" 5]], :time 7000000}
{:process 2, :type :invoke, :f :txn, :value [[:r "p1" nil]], :time 8000000}
{:process 2, :type :ok, :f :txn, :value [[:r "p1" [4]]], :time 9000000}
`
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}
