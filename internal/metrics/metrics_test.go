package metrics_test

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/internal/metrics"
	"github.com/profilenode/profilenode/lock"
)

// fake is a node that stands as it was told.
type fake cluster.Status

func (f fake) Status() cluster.Status { return cluster.Status(f) }

func scrape(t *testing.T, m *metrics.Metrics) string {
	t.Helper()
	answer := httptest.NewRecorder()
	m.Handler().ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
	text, err := io.ReadAll(answer.Result().Body)
	if err != nil || answer.Code != 200 {
		t.Fatalf("scrape: %d, %v\n%s", answer.Code, err, text)
	}
	return string(text)
}

// docs/metrics.md describes every metric, and no other.
func TestMetricsAreDescribed(t *testing.T) {
	m := metrics.New()
	m.Watch(fake{})
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	described := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(profilenode_[a-z_]+)` \\| .+ \\| .*\\|$").FindAllStringSubmatch(string(page), -1) {
		if described[row[1]] {
			t.Errorf("docs/metrics.md describes %s twice", row[1])
		}
		described[row[1]] = true
	}
	names := m.Names()
	for _, name := range names {
		if !described[name] {
			t.Errorf("docs/metrics.md does not describe %s", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(described)) {
		if !slices.Contains(names, name) {
			t.Errorf("docs/metrics.md describes %s, which there is not", name)
		}
	}
	for _, name := range regexp.MustCompile("profilenode_[a-z_]+").FindAllString(string(page), -1) {
		if !slices.Contains(names, name) {
			t.Errorf("docs/metrics.md speaks of %s, which there is not", name)
		}
	}
	if len(names) < 30 {
		t.Errorf("found %d metrics: they are not read as they are registered", len(names))
	}
}

func TestWhatIsToldIsShown(t *testing.T) {
	m := metrics.New()
	m.Watch(fake{
		State: "leader", Leader: "n", Term: 7, Waiters: 3, BelowReserve: true, MaxClockOffset: 1500 * time.Millisecond,
		Members: []cluster.Member{{Gossip: "alive"}, {Gossip: "dead"}, {}}, Alarms: []cluster.Alarm{{Code: cluster.AlarmDiskLow}, {Code: cluster.AlarmDiskLow}, {Code: cluster.NoticeDown}},
	})
	save := fsm.NewCommand(&fsm.Request{}, &fsm.Save{Data: &fsm.Data{Size: 100}})
	m.RecordProposal(save, fsm.Result{}, time.Millisecond, nil)
	m.RecordProposal(save, fsm.Result{Repeated: true}, time.Millisecond, nil)
	m.RecordProposal(save, fsm.Result{Code: fsm.Fenced}, time.Millisecond, nil)
	m.RecordProposal(save, fsm.Result{}, time.Millisecond, fmt.Errorf("propose: %w", cluster.ErrBusy))
	m.RecordProposal(save, fsm.Result{}, time.Millisecond, &cluster.NotLeaderError{})
	m.RecordProposal(save, fsm.Result{}, time.Millisecond, errors.New("who knows"))
	m.RecordProposal(fsm.NewCommand(&fsm.Request{}, &fsm.EndServer{}), fsm.Result{}, 0, nil)
	m.RecordProposal(&fsm.Command{}, fsm.Result{Code: fsm.Invalid}, 0, nil)
	m.RecordEntry(3, 1000)
	m.RecordRound(2*time.Millisecond, cluster.ErrUnconfirmed)
	m.RecordRenewal(nil)
	m.RecordEvents([]fsm.Event{
		{Kind: fsm.Granted, Token: 1, Ticket: 1},
		{Kind: fsm.Granted, Token: 2, Ticket: 1},
		{Kind: fsm.Granted, Token: 2, Ticket: 1, Cause: lock.Expired},
		{Kind: fsm.Granted, Token: 2, Ticket: 1, Cause: lock.ShutDown},
		{Kind: fsm.Granted, Token: 2, Ticket: 1, Cause: lock.Panicked},
		{Kind: fsm.Granted, Token: 2, Ticket: 1, Cause: lock.ReleasedByOperator},
		{Kind: fsm.Lost, Cause: lock.Stolen},
		{Kind: fsm.LetGo},
	})
	m.RecordExpiry(lock.Proof, false, 300*time.Millisecond)
	m.RecordExpiry(lock.Silence, true, 10*time.Second)
	m.RecordTakeover(2 * time.Millisecond)
	m.RecordSnapshot(true, time.Second, nil)
	text := scrape(t, m)
	for _, want := range []string{
		`profilenode_commands_total{act="save",outcome="ok"} 1`,
		`profilenode_commands_total{act="save",outcome="repeated"} 1`,
		`profilenode_commands_total{act="save",outcome="fenced"} 1`,
		`profilenode_commands_total{act="none",outcome="invalid"} 1`,
		`profilenode_proposals_total{outcome="ok"} 5`,
		`profilenode_proposals_total{outcome="busy"} 1`,
		`profilenode_proposals_total{outcome="not_leader"} 1`,
		`profilenode_proposals_total{outcome="unknown"} 1`,
		`profilenode_saved_bytes_total 100`,
		`profilenode_entry_commands_sum 3`,
		`profilenode_entry_bytes_total 1000`,
		`profilenode_confirmation_rounds_total{outcome="unconfirmed"} 1`,
		`profilenode_renewals_total{outcome="ok"} 1`,
		`profilenode_grants_total{way="start"} 1`,
		`profilenode_grants_total{way="hand_off"} 2`,
		`profilenode_grants_total{way="panicked"} 1`,
		`profilenode_grants_total{way="takeover"} 1`,
		`profilenode_grants_total{way="released_by_operator"} 1`,
		`profilenode_revocations_total{cause="stolen"} 1`,
		`profilenode_expiries_total{ground="goodbye"} 1`,
		`profilenode_expiries_total{ground="proof"} 1`,
		`profilenode_expiries_refused_total{ground="silence"} 1`,
		`profilenode_takeover_silence_seconds_count 1`,
		`profilenode_takeover_served_seconds_count 1`,
		`profilenode_snapshots_total{act="installed",outcome="ok"} 1`,
		`profilenode_leader 1`, `profilenode_leader_known 1`, `profilenode_term 7`, `profilenode_waiting 3`, `profilenode_disk_short 1`,
		`profilenode_disk_refusing 0`, `profilenode_clock_distance_seconds 1.5`, `profilenode_alarms 2`,
		`profilenode_alarm_active{code="DISK_LOW",kind="alarm"} 2`, `profilenode_alarm_active{code="WAS_DOWN",kind="notice"} 1`,
		`profilenode_alarm_active{code="CLOCK_OFF",kind="alarm"} 0`,
		`profilenode_members{gossip="alive"} 1`, `profilenode_members{gossip="dead"} 1`, `profilenode_members{gossip="unknown"} 1`,
	} {
		if !strings.Contains(text, "\n"+want+"\n") {
			t.Errorf("%s is not shown", want)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

// docs/alarms.md has every code with its kind, and no other.
func TestAlarmsAreDescribed(t *testing.T) {
	page, err := os.ReadFile("../../docs/alarms.md")
	if err != nil {
		t.Fatal(err)
	}
	described := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([A-Z_]+)` \\| (alarm|notice) \\|").FindAllStringSubmatch(string(page), -1) {
		described[row[1]] = row[2]
	}
	for _, code := range cluster.AlarmCodes() {
		kind := "alarm"
		if code.Notice() {
			kind = "notice"
		}
		if described[string(code)] != kind {
			t.Errorf("docs/alarms.md says of %s %q, want %s", code, described[string(code)], kind)
		}
		delete(described, string(code))
	}
	for code := range described {
		t.Errorf("docs/alarms.md describes %s, which there is not", code)
	}
}
