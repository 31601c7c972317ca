package quorum

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// servers are voters with the given one-letter ids; one in capitals is a learner.
func servers(ids string) (list []raft.Server) {
	for _, id := range strings.Split(ids, "") {
		s := raft.Server{ID: raft.ServerID(id), Address: raft.ServerAddress(id + "@" + id + ":7401")}
		if strings.ToUpper(id) == id {
			s.Suffrage = raft.Nonvoter
		}
		list = append(list, s)
	}
	return list
}

func TestSilenceIsWhatThisLeaderItselfHasSeen(t *testing.T) {
	began := time.Now()
	at := func(second int) time.Time { return began.Add(time.Duration(second) * time.Second) }
	contact := map[string]time.Time{"b": at(-600), "c": at(-600)}
	var watch SilenceWatch
	look := func(second int, answered string) Silence {
		for _, id := range strings.Split(answered, "") {
			contact[id] = at(second)
		}
		return watch.Look(at(second), "a", servers("abcD"), func(id string) time.Time { return contact[id] })
	}
	if got := fmt.Sprint(look(0, "")); got != "map[b:0s c:0s]" {
		t.Errorf("a new leader's first look: %s, want no silence, and of other voters alone", got)
	}
	for second := 1; second <= 20; second++ {
		look(second, "b")
	}
	if got := fmt.Sprint(look(21, "b")); got != "map[b:0s c:21s]" {
		t.Errorf("after 21 s: %s, want c alone silent", got)
	}
	if got := fmt.Sprint(look(621, "")); got != "map[b:3s c:24s]" {
		t.Errorf("this process was stopped for ten minutes, and then %s, want that three seconds count", got)
	}
	if got := fmt.Sprint(look(622, "c")); got != "map[b:4s c:0s]" {
		t.Errorf("c answers, and then %s, want no silence of c", got)
	}
}

func TestUnreachableVotersAndWhatTheClusterBears(t *testing.T) {
	long := unreachableAfter + time.Second
	for _, test := range []struct {
		servers string
		silent  Silence
		want    string
	}{
		{"abc", Silence{"b": unreachableAfter, "c": 0}, ""},
		{"abc", Silence{"b": 0, "c": long}, "2 of 3 voters answer: the cluster bears no further failure; " +
			"bring node c at c:7401 back, or remove it with profilenode members remove c"},
		{"abcD", Silence{"c": long}, "2 of 3 voters answer: the cluster bears no further failure"},
		{"abcde", Silence{"c": long}, "4 of 5 voters answer: the cluster bears one further failure"},
		{"abcdefg", Silence{"c": long}, "6 of 7 voters answer: the cluster bears 2 further failures"},
		{"abc", Silence{"b": long, "c": long}, "1 of 3 voters answer: the cluster bears no further failure"},
		{"ab", Silence{"c": long}, ""},
	} {
		found := Silence(test.silent).FindUnreachable(servers(test.servers))
		switch {
		case test.want == "" && len(found) == 0:
		case len(found) == 0 || !strings.HasPrefix(found[0].Text, test.want):
			t.Errorf("%s, silent %v: %v, want %q", test.servers, test.silent, found, test.want)
		}
	}
}

func TestALearnerReplacesTheVoterThatIsSilentForLongest(t *testing.T) {
	const minutes = time.Minute
	for _, test := range []struct {
		name, servers string
		silent        Silence
		answer        string // ids that have just answered
		want          string // "": none is silent for so long; "wait": there is no majority
	}{
		{"nobody is silent", "abcD", Silence{}, "abcD", ""},
		{"not for long enough", "abcD", Silence{"c": 5 * minutes}, "abD", ""},
		{"for long enough", "abcD", Silence{"c": 6 * minutes}, "abD", "c"},
		{"it answers again, if not to raft", "abcD", Silence{"c": 6 * minutes}, "abcD", ""},
		{"the longest", "abcdeF", Silence{"c": 6 * minutes, "e": 7 * minutes}, "abdF", "e"},
		{"another has just not answered", "abcD", Silence{"c": 6 * minutes}, "aD", "wait"},
		{"another is silent towards raft", "abcD", Silence{"b": minutes, "c": 6 * minutes}, "abD", "wait"},
		{"two of four", "abcdE", Silence{"c": 6 * minutes, "d": 7 * minutes}, "abE", "wait"},
	} {
		t.Run(test.name, func(t *testing.T) {
			replaced, found, safe := test.silent.ChooseReplaced(servers(test.servers), "a", func(id string) bool { return strings.Contains(test.answer, id) })
			got := ""
			switch {
			case found && safe:
				got = string(replaced.ID)
			case found:
				got = "wait"
			}
			if got != test.want {
				t.Errorf("silent %v, answering %s: %q is replaced, want %q", test.silent, test.answer, got, test.want)
			}
		})
	}
}
