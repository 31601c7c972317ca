package house_test

import (
	"slices"
	"strings"
	"testing"
)

// TestViolations proves that the checker can complain: each case breaks one rule, and only that.
func TestViolations(t *testing.T) {
	ours := func(name, imported string) string {
		return "package " + name + "\nimport _ \"" + module + "/" + imported + "\"\n"
	}
	lib := func(name, imported string) string { return "package " + name + "\nimport _ \"" + imported + "\"\n" }
	for _, c := range []struct {
		path, source string
		want         string // "": no complaint
	}{
		{"fsm/a.go", ours("fsm", "lock"), ""},
		{"fsm/a_test.go", ours("fsm_test", "fsm"), ""},
		{"examples/quickstart/main.go", ours("main", "client"), ""},
		{"lock/a.go", ours("lock", "fsm"), "lock may not import fsm: by the table it imports nothing of ours"},
		{"client/a.go", ours("client", "cluster"), "client may not import cluster"},
		{"client/a_test.go", ours("client_test", "cluster"), "client may not import cluster"},
		{"cluster/a.go", ours("cluster", "internal/server"), "cluster may not import internal/server"},
		{"gossip/a.go", ours("gossip", "lock"), "gossip may not import lock"},
		{"bench/a.go", ours("main", "cmd/profilenode"), "bench may not import cmd/profilenode"},
		{"examples/quickstart/main.go", ours("main", "cluster"), "examples/quickstart may not import cluster"},

		{"helpers/a.go", "package helpers\n", "say in the table what it may import"},
		{"lock/inner/a.go", "package inner\n", "say in the table what it may import"},
		{"a.go", "package profilenode\n", "say in the table what it may import"},

		{"client/clienttest/a.go", ours("clienttest", "cluster/clustertest"), ""},
		{"client/a_test.go", ours("client_test", "client/clienttest"), ""},
		{"internal/server/a_test.go", ours("server_test", "cluster/clustertest"), ""},
		{"client/a.go", ours("client", "client/clienttest"), "which is for tests"},
		{"cmd/profilenode/a.go", ours("main", "cluster/clustertest"), "which is for tests"},

		{"scripts/jepsen/model/a.go", ours("model", "fsm"), "does not import the code that it checks"},
		{"scripts/jepsen/check/a.go", ours("check", "lock"), "does not import the code that it checks"},
		{"scripts/jepsen/check/a_test.go", ours("check_test", "fsm"), "does not import the code that it checks"},
		{"scripts/jepsen/check/a.go", ours("check", "scripts/jepsen/model"), ""},

		{"cluster/a.go", lib("cluster", "github.com/hashicorp/raft"), ""},
		{"cluster/clustertest/a.go", lib("clustertest", "github.com/hashicorp/raft"), ""},
		{"fsm/a.go", lib("fsm", "github.com/hashicorp/raft"), "belongs to cluster/..."},
		{"client/clienttest/a_test.go", lib("clienttest_test", "github.com/hashicorp/raft"), "belongs to cluster/..."},
		{"bench/a.go", lib("main", "github.com/hashicorp/raft-boltdb/v2"), "belongs to cluster/..."},
		{"bench/a.go", lib("main", "go.etcd.io/bbolt"), "belongs to cluster/..."},
		{"cluster/a.go", lib("cluster", "github.com/hashicorp/memberlist"), "belongs to gossip"},
		{"client/a.go", lib("client", "github.com/cockroachdb/pebble/v2/vfs"), "a game's binary holds no Pebble"},
		{"cluster/a.go", lib("cluster", "google.golang.org/grpc"), "the wire belongs to its two ends"},
		{"cluster/a.go", lib("cluster", "google.golang.org/grpc/status"), "the wire belongs to its two ends"},
		{"cluster/a_test.go", lib("cluster_test", "google.golang.org/grpc"), ""},
		{"client/a.go", lib("client", "google.golang.org/grpc/status"), ""},

		{"lock/a.go", lib("lock", "os"), "may not import os"},
		{"lock/a.go", lib("lock", "net"), "may not import net"},
		{"fsm/a.go", lib("fsm", "sync"), "may not import sync"},
		{"fsm/a.go", lib("fsm", "sync/atomic"), "may not import sync/atomic"},
		{"fsm/a.go", lib("fsm", "context"), "may not import context"},
		{"fsm/a.go", lib("fsm", "log"), "may not import log:"},
		{"fsm/a.go", lib("fsm", "log/slog"), "may not import log/slog"},
		{"fsm/a.go", lib("fsm", "math/rand"), "may not import math/rand"},
		{"fsm/a.go", lib("fsm", "math/rand/v2"), "may not import math/rand/v2"},
		{"fsm/a.go", lib("fsm", "crypto/rand"), "may not import crypto/rand"},
		{"fsm/a.go", "package fsm\nimport . \"strings\"\nvar _ = Cut\n", "with a dot"},
		{"fsm/a_test.go", lib("fsm_test", "os"), ""},
		{"cluster/a.go", lib("cluster", "sync"), ""},

		{"lock/a.go", "package lock\nimport \"time\"\nvar d = 3 * time.Second\n", ""},
		{"lock/a.go", "package lock\nimport \"time\"\nfunc f() { time.Now() }\n", "may not use time.Now"},
		{"lock/a.go", "package lock\nimport \"time\"\nvar now = time.Now\n", "may not use time.Now"},
		{"lock/a.go", "package lock\nimport t \"time\"\nfunc f() { t.Sleep(1) }\n", "may not use time.Sleep"},
		{"fsm/a.go", "package fsm\nimport \"time\"\nfunc f(t time.Time) { time.Since(t) }\n", "may not use time.Since"},
		{"fsm/a.go", "package fsm\nimport \"time\"\nfunc f() { <-time.After(1) }\n", "may not use time.After"},
		{"fsm/a.go", "package fsm\nimport \"time\"\nfunc f() { <-time.Tick(1) }\n", "may not use time.Tick"},

		{"fsm/a.go", "package fsm\nfunc f() { go f() }\n", "starts no goroutine"},
		{"fsm/a_test.go", "package fsm\nfunc f() { go f() }\n", ""},
		{"lock/a.go", "package lock\nfunc init() {}\n", "has no init"},
		{"lock/a.go", "package lock\ntype t int\nfunc (t) init() {}\n", ""},

		{"fsm/a.go", "package fsm\nimport \"errors\"\nvar errX = errors.New(\"x\")\nvar names = []string{\"a\"}\nvar _ = names\n", ""},
		{"fsm/a.go", "package fsm\nfunc f() { names := 1; names = 2; _ = names }\n", ""},
		{"fsm/a.go", "package fsm\nvar seen map[string]int\n", "seen can only be there to be written"},
		{"fsm/a.go", "package fsm\nvar seen = make(map[string]int)\n", "seen can only be there to be written"},
		{"fsm/a.go", "package fsm\nvar seen = &struct{ n int }{}\n", "seen can only be there to be written"},
		{"fsm/a.go", "package fsm\nvar n = 0\nfunc f() { n = 1 }\n", "n at package level may not be written"},
		{"fsm/a.go", "package fsm\nvar n = 0\nfunc f() { n++ }\n", "n at package level may not be written"},
		{"fsm/a.go", "package fsm\nvar n = 0\nfunc f() *int { return &n }\n", "n at package level may not be written"},
		{"fsm/a.go", "package fsm\nvar m = map[int]int{}\nfunc f() { m[1] = 2 }\n", "m at package level may not be written"},
		{"fsm/a.go", "package fsm\nvar m = map[int]int{}\nfunc f() { delete(m, 1) }\n", "m at package level may not be written"},
		{"cluster/a.go", "package cluster\nvar n int\nfunc init() { n = 1; go init() }\n", ""},
	} {
		got, err := checkModule(map[string]string{c.path: c.source})
		if err != nil {
			t.Fatalf("%s: %v", c.path, err)
		}
		if c.want == "" {
			if len(got) != 0 {
				t.Errorf("%s\n%s: complaints %q, want none", c.path, c.source, got)
			}
			continue
		}
		if len(got) != 1 || !strings.Contains(got[0], c.want) || !strings.HasPrefix(got[0], c.path+":") {
			t.Errorf("%s\n%s: complaints %q, want one at the file that says %q", c.path, c.source, got, c.want)
		}
	}
}

// A name written in one file may be declared in another.
func TestViolationOverTwoFiles(t *testing.T) {
	got, err := checkModule(map[string]string{
		"fsm/a.go": "package fsm\nvar level = 1\n",
		"fsm/b.go": "package fsm\nfunc f() { level = 2 }\n",
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || !strings.HasPrefix(got[0], "fsm/b.go:2") {
		t.Errorf("complaints are %q, want one at fsm/b.go:2", got)
	}
}

func TestBrokenSourceIsNoPass(t *testing.T) {
	if got, err := checkModule(map[string]string{"fsm/a.go": "package fsm\nfunc {\n"}); err == nil {
		t.Errorf("complaints are %q and no error, want the parser's error", got)
	}
}

// Every impure library, clock and owner has a case of its own above, or here.
func TestTableIsWhole(t *testing.T) {
	for dir, allowed := range mayImport {
		for _, other := range allowed {
			if _, known := findImportRule(other); !known {
				t.Errorf("%s may import %s, which is not in the table", dir, other)
			}
			if slices.Contains(testPackages, other) && !slices.Contains(testPackages, dir) {
				t.Errorf("%s may import %s by the table, but that is for tests", dir, other)
			}
		}
	}
	for _, name := range clockFunctions {
		source := "package lock\nimport \"time\"\nvar x = time." + name + "\n"
		if got, err := checkModule(map[string]string{"lock/a.go": source}); err != nil || len(got) != 1 {
			t.Errorf("time.%s: complaints %q, %v, want one", name, got, err)
		}
	}
	for name := range impureLibraries {
		source := "package lock\nimport _ \"" + name + "\"\n"
		if got, err := checkModule(map[string]string{"lock/a.go": source}); err != nil || len(got) != 1 {
			t.Errorf("%s: complaints %q, %v, want one", name, got, err)
		}
	}
}
