package deploy_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/deploy/config"
	"github.com/profilenode/profilenode/internal/nodeproc"
)

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// needProgram skips the test where a program is missing.
func needProgram(t *testing.T, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("skipped: %v", err)
	}
}

// alert is one of rules.yaml.
type alert struct {
	Alert       string
	Expr        string
	Labels      map[string]string
	Annotations map[string]string
}

func readAlerts(t *testing.T) (alerts []alert) {
	t.Helper()
	var rules struct {
		Groups []struct{ Rules []alert }
	}
	if err := yaml.Unmarshal([]byte(readFile(t, "prometheus/rules.yaml")), &rules); err != nil {
		t.Fatal(err)
	}
	for _, group := range rules.Groups {
		alerts = append(alerts, group.Rules...)
	}
	if len(alerts) < 15 {
		t.Fatalf("found %d alerts: the file is not read as it is written", len(alerts))
	}
	return alerts
}

// Each alert has a severity, a section in docs/alerts.md, and a unit test in which it stays quiet and then fires.
func TestAlertsAreDescribedAndTested(t *testing.T) {
	page := readFile(t, "../docs/alerts.md")
	var tests struct {
		Tests []struct {
			Rules []struct {
				Alertname string
				Expected  []any `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	if err := yaml.Unmarshal([]byte(readFile(t, "prometheus/rules_test.yaml")), &tests); err != nil {
		t.Fatal(err)
	}
	fires, quiet := make(map[string]bool), make(map[string]bool)
	for _, test := range tests.Tests {
		for _, rule := range test.Rules {
			if len(rule.Expected) > 0 {
				fires[rule.Alertname] = true
			} else {
				quiet[rule.Alertname] = true
			}
		}
	}
	var names []string
	for _, a := range readAlerts(t) {
		names = append(names, a.Alert)
		if !fires[a.Alert] || !quiet[a.Alert] {
			t.Errorf("%s: a test in which it fires: %t, and is quiet: %t", a.Alert, fires[a.Alert], quiet[a.Alert])
		}
		if severity := a.Labels["severity"]; severity != "page" && severity != "ticket" {
			t.Errorf("%s has severity %q", a.Alert, severity)
		}
		if want := "docs/alerts.md#" + strings.ToLower(a.Alert); a.Annotations["runbook"] != want || a.Annotations["summary"] == "" {
			t.Errorf("%s: runbook %q, want %q; summary %q", a.Alert, a.Annotations["runbook"], want, a.Annotations["summary"])
		}
		_, section, found := strings.Cut(page, "\n## "+a.Alert+"\n")
		section, _, _ = strings.Cut(section, "\n## ")
		if !found || !strings.Contains(section, "\nLook at: ") || !strings.Contains(section, "\nDo: ") {
			t.Errorf("docs/alerts.md does not say of %s what to look at and what to do", a.Alert)
		}
	}
	for _, section := range regexp.MustCompile(`(?m)^## (.+)$`).FindAllStringSubmatch(page, -1) {
		if !slices.Contains(names, section[1]) {
			t.Errorf("docs/alerts.md has a section %s, which is no alert", section[1])
		}
	}
}

func TestPromtoolTakesTheRules(t *testing.T) {
	needProgram(t, "promtool")
	run(t, nil, "promtool", "check", "rules", "prometheus/rules.yaml")
	run(t, nil, "promtool", "check", "config", "prometheus/prometheus.yaml")
	run(t, nil, "promtool", "test", "rules", "prometheus/rules_test.yaml")
}

// queries are those of the alerts and of the dashboard.
func queries(t *testing.T) (all []string) {
	t.Helper()
	for _, a := range readAlerts(t) {
		all = append(all, a.Expr)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(readFile(t, "grafana/profilenode.json")), &dashboard); err != nil {
		t.Fatal(err)
	}
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			all = append(all, target.Expr)
		}
	}
	if len(all) < 40 {
		t.Fatalf("found %d queries: the files are not read as they are written", len(all))
	}
	return all
}

// scraped are the metrics of a node that has worked for a game server, with their label names, and the codes of alarms.
func scraped(t *testing.T) (labels map[string]map[string]bool, codes map[string]bool) {
	t.Helper()
	folder := t.TempDir()
	program, err := nodeproc.Build(t.Context(), folder)
	if err != nil {
		t.Fatal(err)
	}
	cluster, err := nodeproc.NewCluster(program, folder, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cluster.Kill() })
	if err := cluster.Start(); err != nil {
		t.Fatal(err)
	}
	if err := cluster.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	game, err := client.Open(t.Context(), client.Config{Seeds: cluster.Clients()})
	if err != nil {
		t.Fatal(err)
	}
	defer game.Close()
	players, err := client.NewStore(game, "players", struct{ Coins int }{})
	if err != nil {
		t.Fatal(err)
	}
	profile, err := players.StartSession(t.Context(), "ann")
	if err != nil {
		t.Fatal(err)
	}
	if err := profile.EndSession(t.Context()); err != nil {
		t.Fatal(err)
	}
	other, err := client.Open(t.Context(), client.Config{Seeds: cluster.Clients()})
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Close(); err != nil { // an expiry, by goodbye
		t.Fatal(err)
	}
	labels, codes = make(map[string]map[string]bool), make(map[string]bool)
	text := ""
	await(t, "a renewal", func() (string, bool) {
		text = fetchMetrics(t, "http://"+cluster.Nodes[0].Addresses.HTTP+"/metrics")
		return text, strings.Contains(text, "profilenode_renewals_total{")
	})
	label := regexp.MustCompile(`(\w+)="([^"]*)"`)
	for _, sample := range regexp.MustCompile(`(?m)^(\w+)(?:\{(.*)\})? \S+$`).FindAllStringSubmatch(text, -1) {
		if labels[sample[1]] == nil {
			labels[sample[1]] = map[string]bool{"job": true, "instance": true}
		}
		for _, pair := range label.FindAllStringSubmatch(sample[2], -1) {
			labels[sample[1]][pair[1]] = true
			if sample[1] == "profilenode_alarm_active" && pair[1] == "code" {
				codes[pair[2]] = true
			}
		}
	}
	return labels, codes
}

func fetchMetrics(t *testing.T, url string) string {
	t.Helper()
	answer, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// unseen are counters that a node shows once they count, and this one has not made a snapshot.
var unseen = map[string][]string{"profilenode_snapshots_total": {"act", "outcome"}}

// Every query of the alerts and of the dashboard asks for metrics and labels that a running node shows.
func TestQueriesMatchMetrics(t *testing.T) {
	labels, codes := scraped(t)
	labels["up"] = map[string]bool{"job": true, "instance": true}
	for name, of := range unseen {
		if !strings.Contains(readFile(t, "../docs/metrics.md"), "`"+name+"`") {
			t.Errorf("docs/metrics.md does not know %s", name)
		}
		labels[name] = map[string]bool{"job": true, "instance": true}
		for _, label := range of {
			labels[name][label] = true
		}
	}
	selector := regexp.MustCompile(`\b(profilenode_\w+|process_\w+|go_\w+|up)\b(?:\{([^}]*)\})?`)
	matcher := regexp.MustCompile(`(\w+)(=~|!~|!=|=)"([^"]*)"`)
	for _, query := range queries(t) {
		found := selector.FindAllStringSubmatch(query, -1)
		if len(found) == 0 {
			t.Errorf("no metric in %s", query)
		}
		for _, f := range found {
			if labels[f[1]] == nil {
				t.Errorf("no node shows %s, which is in %s", f[1], query)
				continue
			}
			for _, m := range matcher.FindAllStringSubmatch(f[2], -1) {
				if !labels[f[1]][m[1]] {
					t.Errorf("%s has no label %s, which is in %s", f[1], m[1], query)
				}
				if m[1] != "code" {
					continue
				}
				for code := range strings.SplitSeq(m[3], "|") {
					if !codes[code] {
						t.Errorf("there is no alarm %s, which is in %s", code, query)
					}
				}
			}
		}
	}
}

// The unit is one that systemd takes, and that leaves the process little.
func TestUnit(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("systemd runs on Linux alone")
	}
	needProgram(t, "systemd-analyze")
	folder := t.TempDir()
	unit := readFile(t, "systemd/profilenode.service")
	const program = "/usr/bin/profilenode"
	if strings.Count(unit, program) != 2 {
		t.Fatalf("the unit does not run %s", program)
	}
	self, err := os.Executable() // systemd looks whether the program is there
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, "profilenode.service")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(unit, program, self)), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := run(t, nil, "systemd-analyze", "verify", path); strings.TrimSpace(out) != "" {
		t.Errorf("systemd-analyze verify says\n%s", out)
	}
	// The threshold is ten times the exposure.
	if out, err := tryRun(t, nil, "systemd-analyze", "security", "--offline=true", "--threshold=19", path); err != nil {
		t.Errorf("exposure of 2.0 or more: %v\n%s", err, out[max(0, len(out)-400):])
	}
}

// The fragments make the user and the folders, in a root of the test's own.
func TestSysusersAndTmpfiles(t *testing.T) {
	needProgram(t, "systemd-sysusers")
	needProgram(t, "systemd-tmpfiles")
	if os.Getuid() != 0 {
		t.Skip("skipped: only root makes folders of other users")
	}
	root := t.TempDir()
	for _, folder := range []string{"etc", "var/lib"} {
		if err := os.MkdirAll(filepath.Join(root, folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	run(t, nil, "systemd-sysusers", "--root="+root, abs(t, "systemd/profilenode.sysusers.conf"))
	if users := readFile(t, filepath.Join(root, "etc/passwd")); !strings.Contains(users, "profilenode:x:") {
		t.Errorf("no user in\n%s", users)
	}
	run(t, nil, "systemd-tmpfiles", "--create", "--root="+root, abs(t, "systemd/profilenode.tmpfiles.conf"))
	for folder, mode := range map[string]os.FileMode{"var/lib/profilenode": 0o700, "etc/profilenode": 0o750, "etc/profilenode/certs": 0o750} {
		info, err := os.Stat(filepath.Join(root, folder))
		if err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v, want mode %v", folder, info, err, mode)
		}
	}
}

func abs(t *testing.T, path string) string {
	t.Helper()
	whole, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return whole
}

// Every setting of the sample says when to change it, alone or with those beside it.
func TestEverySettingHasAReason(t *testing.T) {
	explained, keys := false, 0
	for i, line := range strings.Split(config.Sample, "\n") {
		switch {
		case line == "":
			explained = false
		case strings.HasPrefix(line, "# ----"):
		case strings.HasPrefix(line, "#"):
			explained = true
		default:
			keys++
			if !explained {
				t.Errorf("node.yaml line %d: %q has no comment", i+1, line)
			}
		}
	}
	if keys < 30 {
		t.Errorf("found %d settings: the file is not read as it is written", keys)
	}
}

// The compose file alone is as docker-compose wants it, and needs no image but ours unless a profile asks for more.
func TestComposeFiles(t *testing.T) {
	needProgram(t, "docker-compose")
	out := run(t, nil, "docker-compose", "-f", "compose/docker-compose.yaml", "-f", "compose/inside.yaml", "config")
	var c struct {
		Services map[string]struct {
			Image       string
			Environment map[string]string
			ReadOnly    bool     `yaml:"read_only"`
			CapDrop     []string `yaml:"cap_drop"`
		}
	}
	if err := yaml.Unmarshal([]byte(out), &c); err != nil {
		t.Fatal(err)
	}
	for _, node := range []string{"node1", "node2", "node3"} {
		s := c.Services[node]
		if s.Environment["PROFILENODE_ADVERTISE"] != node+":7400" || !s.ReadOnly || fmt.Sprint(s.CapDrop) != "[ALL]" || s.Image != "profilenode:latest" {
			t.Errorf("%s: %+v", node, s)
		}
	}
}
