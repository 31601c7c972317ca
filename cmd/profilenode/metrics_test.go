package main

import (
	"net/http"
	"regexp"
	"strconv"
	"testing"
	"time"
)

// metric reads a metric, with its labels as they are written, of a node.
func (s *served) metric(t *testing.T, name string) float64 {
	t.Helper()
	code, body := fetch(t, "http://"+s.http+"/metrics")
	if code != http.StatusOK {
		t.Fatalf("metrics: %d\n%s", code, body)
	}
	found := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` (\S+)$`).FindStringSubmatch(body)
	if found == nil {
		return -1
	}
	value, err := strconv.ParseFloat(found[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// A node counts what it does.
func TestMetrics(t *testing.T) {
	s := serveOne(t)
	game := openClient(t, s.clients)
	profile := startSession(t, game, "alice")
	if err := profile.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.ask(t, "", "release", store, "alice", "--force", "--wait").want(t, exitOK)
	within(t, "the owner is told", profile.Done())
	for until := time.Now().Add(15 * time.Second); s.metric(t, `profilenode_renewals_total{outcome="ok"}`) < 1; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("no renewal was counted")
		}
	}
	for name, want := range map[string]float64{
		`profilenode_leader`:   1,
		`profilenode_alarms`:   0,
		`profilenode_sessions`: 0,
		`profilenode_commands_total{act="save",outcome="ok"}`:                1,
		`profilenode_commands_total{act="release_by_operator",outcome="ok"}`: 1,
		`profilenode_commands_total{act="start_session",outcome="ok"}`:       1,
		`profilenode_grants_total{way="start"}`:                              1,
		`profilenode_revocations_total{cause="released_by_operator"}`:        1,
		`profilenode_commit_lag_entries`:                                     0,
	} {
		if got := s.metric(t, name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	for _, name := range []string{
		`profilenode_entries_total`, `profilenode_confirmation_rounds_total{outcome="ok"}`, `profilenode_proposal_seconds_count`, `profilenode_applied_index`,
		`profilenode_expiries_total{ground="goodbye"}`, `profilenode_disk_free_bytes`, `profilenode_saved_bytes_total`, `go_goroutines`,
	} {
		if got := s.metric(t, name); got < 1 {
			t.Errorf("%s is %v, want more", name, got)
		}
	}
}
