package main

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/profilenode/profilenode/deploy/config"
)

// configure reads a configuration as serve does.
func configure(t *testing.T, file string, environ []string, args ...string) (Config, error) {
	t.Helper()
	path := ""
	if file != "" {
		path = filepath.Join(t.TempDir(), "node.yaml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	addSettingFlags(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	c, _, err := loadConfig(path, flags, process{environ: environ})
	return c, err
}

func TestSampleIsTheDefaults(t *testing.T) {
	got, err := configure(t, config.Sample, nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := DefaultConfig(); !reflect.DeepEqual(got, want) {
		t.Errorf("node.yaml says\n%+v\nand the defaults are\n%+v", got, want)
	}
	for _, s := range allSettings() {
		if !strings.Contains(config.Sample, "\n"+s.name+": ") {
			t.Errorf("node.yaml does not list %s", s.name)
		}
	}
}

// Every field of Config can be set, and each setting sets one field of its own.
func TestEveryFieldIsASetting(t *testing.T) {
	values := map[string]string{
		"": "true", "folder": "x", "file": "x", "base64": "x", "address": "h:1", "address,...": "h:1,i:2",
		"duration": "77ms", "level": "error", "size": "77KiB", "number": "77", "id": "77",
	}
	set := make(map[string]string)
	for _, s := range allSettings() {
		c := DefaultConfig()
		if err := s.set(&c, values[s.shape]); err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		if got := s.get(&c); got != values[s.shape] {
			t.Errorf("%s: got %q back, want %q", s.name, got, values[s.shape])
		}
		before, after := reflect.ValueOf(DefaultConfig()), reflect.ValueOf(c)
		changed := 0
		for i := range before.NumField() {
			if reflect.DeepEqual(before.Field(i).Interface(), after.Field(i).Interface()) {
				continue
			}
			changed++
			field := before.Type().Field(i).Name
			if other, taken := set[field]; taken {
				t.Errorf("%s and %s both set %s", other, s.name, field)
			}
			set[field] = s.name
		}
		if changed != 1 {
			t.Errorf("%s changes %d fields, want 1", s.name, changed)
		}
	}
	for field := range reflect.TypeFor[Config]().Fields() {
		if set[field.Name] == "" {
			t.Errorf("no setting sets %s", field.Name)
		}
	}
}

func TestPrecedence(t *testing.T) {
	const file = "ping: 11s\nping-reach: 72s\nlog-level: warn\nnodes: ['127.0.0.1:7401', '10.0.0.2:7401']\ninsecure: true\n"
	environ := []string{"PROFILENODE_PING=21s", "PROFILENODE_LOG_LEVEL=error", "PROFILENODE_LOG_JSON=true"}
	c, err := configure(t, file, environ, "--ping=31s", "--log-json=false")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.Ping, 31*time.Second; got != want {
		t.Errorf("flag over variable over file: got %v, want %v", got, want)
	}
	if got, want := c.LogLevel.String(), "ERROR"; got != want {
		t.Errorf("variable over file: got %v, want %v", got, want)
	}
	if got, want := c.PingReach, 72*time.Second; got != want {
		t.Errorf("file over default: got %v, want %v", got, want)
	}
	if got, want := c.PingAgain, 250*time.Millisecond; got != want {
		t.Errorf("default: got %v, want %v", got, want)
	}
	if c.LogJSON {
		t.Error("a flag that says false does not win over a variable that says true")
	}
	if got, want := strings.Join(c.Nodes, " "), "127.0.0.1:7401 10.0.0.2:7401"; got != want {
		t.Errorf("list in the file: got %q, want %q", got, want)
	}
}

func TestEmptyFileIsTheDefaults(t *testing.T) {
	for _, file := range []string{"# only a comment\n", "---\n", "data:\n\n"} {
		c, err := configure(t, file, nil, "--data=d")
		if err != nil {
			t.Errorf("%q: %v", file, err)
		}
		want := DefaultConfig()
		want.Data = "d"
		if !reflect.DeepEqual(c, want) {
			t.Errorf("%q: got %+v", file, c)
		}
	}
}

// Each wrong input ends with exit code 2 and with one sentence that names it; none starts anything.
func TestFaults(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "absent.yml")
	notPEM := filepath.Join(t.TempDir(), "not.pem")
	if err := os.WriteFile(notPEM, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name    string
		file    string
		environ []string
		args    []string
		want    []string // one for each line
	}{
		{name: "UnknownFlag", args: []string{"--hearbeat=1s"}, want: []string{"unknown flag: --hearbeat"}},
		{name: "Argument", args: []string{"now"}, want: []string{`unknown command "now" for "profilenode serve"`}},
		{name: "UnreadableFile", args: []string{"--config", missing}, want: []string{"read configuration: open " + missing + ": no such file or directory"}},
		{name: "UnknownKey", file: "data: d\nhartbeat: 1s\n", want: []string{`line 2: unknown key "hartbeat"`}},
		{name: "KeyTwice", file: "data: d\ndata: e\n", want: []string{`line 2: key "data" comes twice`}},
		{name: "NotYAML", file: "data: [\n", want: []string{"is not YAML"}},
		{name: "NotAMapping", file: "- data\n", want: []string{"line 1: want lines of the form name: value"}},
		{name: "TwoDocuments", file: "data: d\n---\ndata: e\n", want: []string{"more than one document"}},
		{name: "NestedValue", file: "data: {a: b}\n", want: []string{"line 1: data: want a plain value"}},
		{name: "ValueInFile", file: "\nping: soon\n", want: []string{`line 2: ping "soon" is not a duration`}},
		{name: "ValueInVariable", environ: []string{"PROFILENODE_PING=soon"}, want: []string{`PROFILENODE_PING: ping "soon" is not a duration`}},
		{name: "Duration", args: []string{"--ping=10"}, want: []string{`--ping "10" is not a duration above zero: write a number with a unit`}},
		{name: "Size", args: []string{"--snapshot-bytes=1MB"}, want: []string{`--snapshot-bytes "1MB" is not a size`}},
		{name: "Level", args: []string{"--log-level=loud"}, want: []string{`--log-level "loud" is none of debug`}},
		{name: "Bool", args: []string{"--insecure=yes"}, want: []string{`--insecure "yes" is neither true nor false`}},
		{name: "Address", args: []string{"--bind=7400"}, want: []string{`bind "7400" is not an address`}},
		{name: "Port", args: []string{"--bind-http=127.0.0.1:http"}, want: []string{"bind-http"}},
		{name: "ProfilesForStrangers", args: []string{"--pprof", "--bind-http=0.0.0.0:7403"}, want: []string{"pprof needs bind-http on loopback"}},
		{name: "NoData", args: []string{"--data="}, want: []string{"data is empty"}},
		{name: "Wildcard", args: []string{"--bind=0.0.0.0:7400", "--insecure"}, want: []string{"advertise is needed"}},
		{name: "AdvertiseWildcard", args: []string{"--advertise=0.0.0.0:7400"}, want: []string{"nothing that others can dial"}},
		{name: "NodeTwice", args: []string{"--nodes=127.0.0.1:7401,127.0.0.1:7401"}, want: []string{"nodes names 127.0.0.1:7401 twice"}},
		{name: "NotAmongNodes", args: []string{"--nodes=10.0.0.1:7401,10.0.0.2:7401"}, want: []string{"nodes does not contain this node's own address 127.0.0.1:7401"}},
		{name: "BeyondLoopback", args: []string{"--bind=10.1.2.3:7400"}, want: []string{"bind 10.1.2.3:7400 is open to other machines without TLS: give tls-cert"}},
		{name: "GossipBeyondLoopback", args: []string{"--bind-gossip=10.1.2.3:7402"}, want: []string{"open to other machines without a key: give gossip-key"}},
		{name: "GossipKey", args: []string{"--gossip-key=c2VjcmV0"}, want: []string{"gossip-key is not base64 of 16, 24 or 32 bytes"}},
		{name: "ServerGossipBeyondLoopback", args: []string{"--bind-server-gossip=10.1.2.3:7404"}, want: []string{"open to other machines without a key: give server-gossip-key"}},
		{name: "ServerGossipWildcard", args: []string{"--bind-server-gossip=:7404", "--insecure"}, want: []string{"advertise-server-gossip is needed"}},
		{name: "ServerGossipKey", args: []string{"--server-gossip-key=c2VjcmV0"}, want: []string{"server-gossip-key is not base64 of 16, 24 or 32 bytes"}},
		{name: "OneKeyForBothPools", args: []string{"--gossip-key=MDEyMzQ1Njc4OWFiY2RlZg==", "--server-gossip-key=MDEyMzQ1Njc4OWFiY2RlZg=="}, want: []string{"are the same"}},
		{name: "HalfTLS", args: []string{"--tls-cert=a.pem"}, want: []string{"tls-cert, tls-key and tls-ca belong together"}},
		{name: "NoCertificate", args: []string{"--tls-cert=" + missing, "--tls-key=" + missing, "--tls-ca=" + notPEM}, want: []string{"read tls-cert and tls-key", "holds no certificate"}},
		{name: "TimesThatDoNotFit", args: []string{"--tick=1s"}, want: []string{"tick 1s must not be above"}},
		{
			name: "AllAtOnce", file: "nothing: 1\nping: soon\n", environ: []string{"PROFILENODE_TICK=x"}, args: []string{"--bind=x", "--log-level=loud"},
			want: []string{`unknown key "nothing"`, `ping "soon"`, `log-level "loud"`, "PROFILENODE_TICK", `bind "x"`},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			args := append([]string{"serve"}, test.args...)
			if test.file != "" {
				path := filepath.Join(t.TempDir(), "node.yaml")
				if err := os.WriteFile(path, []byte(test.file), 0o600); err != nil {
					t.Fatal(err)
				}
				args = append(args, "--config", path)
			}
			if !strings.Contains(strings.Join(args, " "), "--data") {
				args = append(args, "--data", filepath.Join(t.TempDir(), "data"))
			}
			var out, errs bytes.Buffer
			if got := runCommandLine(t.Context(), args, process{strings.NewReader(""), &out, &errs, test.environ}); got != exitUsage {
				t.Errorf("exit code: got %d, want %d", got, exitUsage)
			}
			lines := strings.Split(strings.TrimSpace(errs.String()), "\n")
			if last := len(lines) - 1; !strings.HasPrefix(lines[last], "see: profilenode serve") {
				t.Errorf("last line: got %q, want where to look", lines[last])
			} else {
				lines = lines[:last]
			}
			if len(lines) != len(test.want) {
				t.Errorf("got %d sentences, want %d:\n%s", len(lines), len(test.want), strings.Join(lines, "\n"))
			}
			for i, line := range lines {
				if !strings.HasPrefix(line, "profilenode: ") {
					t.Errorf("line %d: got %q", i, line)
				}
			}
			for _, want := range test.want {
				if !strings.Contains(errs.String(), want) {
					t.Errorf("got\n%s\nwant %q in it", errs.String(), want)
				}
			}
			if strings.Contains(errs.String(), "c2VjcmV0") {
				t.Error("a key was shown")
			}
			if out.Len() > 0 {
				t.Errorf("stdout: got %q, want nothing", out.String())
			}
		})
	}
}

func TestUnknownVariables(t *testing.T) {
	got := unknownVariables([]string{
		"PROFILENODE_HARTBEAT=1s", "PROFILENODE_PING=1s", "PROFILENODE_ADDR=x", "PROFILENODE_SERVICE_HOST=10.0.0.1",
		"PROFILENODE_PORT_7400_TCP=tcp://10.0.0.1:7400", "PROFILENODE_GOSSIP_SERVICE_PORT=1", "HOME=/",
	})
	if want := []string{"PROFILENODE_HARTBEAT"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestPrintConfig(t *testing.T) {
	const key, otherKey = "MDEyMzQ1Njc4OWFiY2RlZg==", "ZmVkY2JhOTg3NjU0MzIxMA=="
	path := filepath.Join(t.TempDir(), "node.yaml")
	file := "nodes: [127.0.0.1:7401, 127.0.0.1:7501]\nping: 9s\nlog-level: warn\ngossip-key: " + key + "\n"
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	environ := []string{"PROFILENODE_LOG_LEVEL=error", "PROFILENODE_PING=8s", "PROFILENODE_SERVER_GOSSIP_KEY=" + otherKey}
	args := []string{"serve", "--config", path, "--ping", "7s", "--data", "a: b # c", "--print-config"}
	var out, errs bytes.Buffer
	if got := runCommandLine(t.Context(), args, process{nil, &out, &errs, environ}); got != exitOK {
		t.Fatalf("exit code %d: %s", got, errs.String())
	}
	for _, want := range []string{
		"ping: 7s\n", "log-level: error\n", "nodes: ['127.0.0.1:7401', '127.0.0.1:7501']\n", "insecure: false\n", "tls-cert: \"\"\n",
		"gossip-key: (hidden)\n", "server-gossip-key: (hidden)\n",
	} {
		if !strings.Contains("\n"+out.String(), "\n"+want) {
			t.Errorf("got\n%s\nwant %q in it", out.String(), want)
		}
	}
	if shown := out.String() + errs.String(); strings.Contains(shown, key) || strings.Contains(shown, otherKey) {
		t.Error("a key was shown")
	}

	// Without the keys it is a file that comes to the same settings.
	printed := strings.ReplaceAll(out.String(), "(hidden)", `""`)
	if err := os.WriteFile(path, []byte(printed), 0o600); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	if got := runCommandLine(t.Context(), []string{"serve", "--config", path, "--print-config"}, process{nil, &out, &errs, nil}); got != exitOK {
		t.Fatalf("exit code %d: %s", got, errs.String())
	}
	if out.String() != printed {
		t.Errorf("read back it is\n%s\nwant\n%s", out.String(), printed)
	}
}

func TestPrintConfigNamesFaults(t *testing.T) {
	var out, errs bytes.Buffer
	if got := runCommandLine(t.Context(), []string{"serve", "--ping", "soon", "--print-config"}, process{nil, &out, &errs, nil}); got != exitUsage {
		t.Errorf("exit code: got %d, want %d", got, exitUsage)
	}
	if out.Len() > 0 || !strings.Contains(errs.String(), "ping") {
		t.Errorf("stdout %q, stderr %q: want the fault alone", out.String(), errs.String())
	}
}

func TestPrintSample(t *testing.T) {
	var out, errs bytes.Buffer
	if got := runCommandLine(t.Context(), []string{"serve", "--print-sample"}, process{nil, &out, &errs, nil}); got != exitOK {
		t.Fatalf("exit code %d: %s", got, errs.String())
	}
	if out.String() != config.Sample {
		t.Error("the file printed is not the sample")
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]uint64{"0": 0, "77": 77, "1KiB": 1 << 10, "64MiB": 64 << 20, "3 GiB": 3 << 30} {
		if got, err := parseSize(text); err != nil || got != want {
			t.Errorf("%q: got %d and %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "-1", "1.5MiB", "MiB", "1MB", "99999999999GiB"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("%q: got %d, want an error", text, got)
		}
	}
	for _, n := range []uint64{0, 1, 1023, 1024, 1 << 20, 1<<20 + 1, 5 << 30} {
		if got, err := parseSize(formatSize(n)); err != nil || got != n {
			t.Errorf("%d came back from %q as %d and %v", n, formatSize(n), got, err)
		}
	}
}
