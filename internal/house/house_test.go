package house_test

import (
	"slices"
	"strings"
	"testing"
)

// module is our own path.
const module = "github.com/profilenode/profilenode"

// mayImport is the import rule: for each package, the packages of this module that it may import. "x/..." means every
// package below x; an entry for the package itself comes before it. A package without an entry fails the test.
var mayImport = map[string][]string{
	"lock":          {},
	"api/profilev1": {},
	"fsm/logpb":     {},
	"gossip":        {},

	"fsm": {"lock", "fsm/logpb"},
	"cluster": {"cluster/internal/commandqueue", "cluster/internal/datafolder", "cluster/internal/disk", "cluster/internal/liveness", "cluster/internal/peerwire", "cluster/internal/quorum",
		"cluster/internal/raftlog", "cluster/internal/raftloop", "cluster/internal/scrub", "cluster/internal/snapshot", "cluster/internal/tables", "fsm", "lock", "gossip"},
	"cluster/internal/disk":         {},
	"cluster/internal/raftloop":     {},
	"cluster/internal/commandqueue": {"fsm"},
	// The nodes' port. It knows no node: the answers to questions come in as functions.
	"cluster/internal/peerwire":   {"internal/tcp", "lock"},
	"cluster/internal/quorum":     {"cluster/internal/peerwire"},
	"cluster/internal/datafolder": {"cluster/internal/disk", "cluster/internal/peerwire"},
	"cluster/internal/snapshot":   {"cluster/internal/disk", "fsm"},
	"cluster/internal/tables":     {"cluster/internal/disk", "cluster/internal/raftlog", "cluster/internal/snapshot", "fsm", "lock"},
	"cluster/internal/raftlog":    {"cluster/internal/datafolder", "cluster/internal/disk"},
	"cluster/internal/liveness":   {"fsm", "lock"},
	"cluster/internal/scrub":      {"cluster/internal/tables"},
	"internal/server":             {"internal/tcp", "api/profilev1", "cluster", "fsm", "lock"},
	// What a refusal is called is the error table's business.
	"internal/server/servertest": {"api/profilev1", "cluster", "fsm", "internal/server", "lock"},
	"internal/metrics":           {"cluster", "fsm", "internal/server", "lock"},
	"internal/tcp":               {},
	"internal/wire":              {"internal/tcp", "api/profilev1"},
	"client":                     {"api/profilev1", "client/internal/document", "internal/clienthooks", "internal/issuer", "internal/wire", "lock"},
	"internal/clienthooks":       {},
	// How a game's value becomes JSON and back, without anything of sessions.
	"client/internal/document": {},
	// Operators' commands speak the wire itself: package client registers a game server, and they are none.
	"cmd/profilenode": {"api/profilev1", "cluster", "deploy/config", "internal/issuer", "internal/metrics", "internal/nodeproc", "internal/server", "internal/wire", "gossip", "client"},

	// Certificate files, for whoever starts nodes with TLS.
	"internal/issuer": {},
	// Processes alone: its users speak to the nodes as they like.
	"internal/nodeproc":   {},
	"internal/network":    {},
	"internal/groups":     {"internal/nodeproc"},
	"internal/memnet":     {},
	"cluster/clustertest": {"cluster", "fsm", "fsm/logpb", "internal/memnet", "lock", "gossip"},
	"client/clienttest": {
		"api/profilev1", "client", "cluster", "cluster/clustertest", "fsm", "fsm/logpb", "gossip", "internal/clienthooks",
		"internal/memnet", "internal/server", "internal/wire", "lock",
	},

	// A whole cluster and its game servers in virtual time. What judges a run is apart, and knows nothing of ours.
	"internal/sim": {
		"api/profilev1", "client", "cluster", "cluster/clustertest", "fsm", "gossip", "internal/clienthooks", "internal/memnet", "internal/server", "internal/sim/check", "internal/wire", "lock",
	},
	"internal/sim/check": {},

	// It asks a node for its status, which is an operator's call, and package client has none of those.
	"bench":           {"bench/capacity", "bench/cuts", "bench/ended", "bench/fill", "bench/greed", "bench/isolation", "bench/measure", "bench/renewals", "bench/steady", "bench/takeover", "bench/testbed"},
	"bench/measure":   {},
	"bench/testbed":   {"api/profilev1", "bench/measure", "internal/network", "client", "gossip", "internal/nodeproc", "internal/wire"},
	"bench/load":      {"bench/measure", "client"},
	"bench/fill":      {"bench/load", "bench/measure", "client"},
	"bench/capacity":  {"bench/fill", "bench/load", "bench/measure", "bench/testbed", "client"},
	"bench/takeover":  {"bench/measure", "internal/network", "bench/testbed"},
	"bench/steady":    {"api/profilev1", "bench/measure", "internal/network", "bench/testbed"},
	"bench/cuts":      {"bench/measure", "internal/network", "bench/testbed", "internal/nodeproc"},
	"bench/greed":     {"api/profilev1", "bench/load", "bench/measure", "bench/testbed", "client", "internal/groups", "internal/wire"},
	"bench/ended":     {"api/profilev1", "bench/measure", "bench/testbed", "internal/wire"},
	"bench/isolation": {"bench/load", "bench/measure", "bench/testbed", "client"},
	// It gives each of thousands of clients in a process an address of its own.
	"bench/renewals": {"api/profilev1", "bench/measure", "bench/testbed", "client", "internal/clienthooks", "internal/nodeproc"},

	"examples/...": {"client", "gossip"},

	// What is shipped, and its tests. The load that a test lets run in a container is a game server like any other.
	"deploy":               {"client", "deploy/config", "internal/nodeproc"},
	"deploy/config":        {},
	"deploy/internal/load": {"client"},

	"scripts/crash":          {"api/profilev1", "client", "internal/nodeproc", "internal/wire", "scripts/internal/disks"},
	"scripts/internal/disks": {"internal/nodeproc"},
	// The chaos tests. What judges a run is apart: it knows the history, and nothing of ours.
	"scripts/jepsen":                  {"bench/measure", "internal/mutation", "internal/nodeproc", "scripts/jepsen/internal/bed", "scripts/jepsen/internal/check", "scripts/jepsen/internal/game", "scripts/jepsen/internal/history", "scripts/jepsen/internal/nemesis", "scripts/jepsen/internal/report"},
	"scripts/jepsen/internal/history": {},
	"scripts/jepsen/internal/game":    {"api/profilev1", "bench/measure", "client", "gossip", "internal/wire", "scripts/jepsen/internal/history"},
	"scripts/jepsen/internal/bed":     {"api/profilev1", "bench/measure", "internal/network", "internal/nodeproc", "internal/wire", "scripts/internal/disks", "scripts/jepsen/internal/game", "scripts/jepsen/internal/history"},
	"scripts/jepsen/internal/nemesis": {"api/profilev1", "bench/measure", "internal/groups", "internal/network", "scripts/internal/disks", "scripts/jepsen/internal/damage", "scripts/jepsen/internal/bed", "scripts/jepsen/internal/clocks", "scripts/jepsen/internal/history"},
	// The faults know processes, files and packets, and nothing of profiles.
	"scripts/jepsen/internal/clocks":  {"internal/nodeproc"},
	"scripts/jepsen/internal/damage":  {"internal/nodeproc"},
	"scripts/jepsen/internal/faultfs": {"internal/nodeproc", "scripts/internal/disks"},
	"scripts/jepsen/internal/check":   {"scripts/jepsen/internal/history"},
	"scripts/jepsen/internal/report":  {"scripts/jepsen/internal/check", "scripts/jepsen/internal/history"},

	"internal/house":    {},
	"internal/mutation": {},
}

// checkers are models and checkers. They never import the code that they check, whatever mayImport allows.
var checkers = []string{"internal/sim/check", "scripts/jepsen/internal/check"}

// checkedPackages are the packages that the checkers check.
var checkedPackages = []string{"fsm", "lock"}

// testPackages are packages that only tests, and packages of this list, may import.
var testPackages = []string{"client/clienttest", "cluster/clustertest", "internal/memnet", "internal/server/servertest", "internal/sim", "internal/sim/check"}

// purePackages are the packages that must give the same result on every node at every replay. Their tests are not restricted.
var purePackages = []string{"fsm", "lock"}

// impureLibraries lists the libraries that a pure package does not import, with the reason.
var impureLibraries = map[string]string{
	"context":      "it starts nothing that could be cancelled",
	"crypto/rand":  "every node must come to the same result",
	"log":          "it reports by results; its caller logs",
	"log/slog":     "it reports by results; its caller logs",
	"math/rand":    "every node must come to the same result",
	"math/rand/v2": "every node must come to the same result",
	"net":          "it never leaves the process",
	"os":           "files come in by the file system that it is given",
	"sync":         "one goroutine calls it, so there is nothing to lock",
	"sync/atomic":  "one goroutine calls it, so there is nothing to share",
}

// clockFunctions are the functions of package time that a pure package does not use: the entry's timestamp is its only time.
var clockFunctions = []string{"After", "AfterFunc", "NewTicker", "NewTimer", "Now", "Since", "Sleep", "Tick", "Until"}

// libraryOwner names the packages that alone may import a library; "x/..." means x and all packages below it.
type libraryOwner struct {
	library  string // its packages are included
	packages []string
	tests    bool // other packages' tests may import it too
	why      string
}

var libraryOwners = []libraryOwner{
	{"github.com/hashicorp/raft", []string{"cluster/..."}, false, "cluster alone knows that there is raft"},
	{"github.com/hashicorp/raft-boltdb", []string{"cluster/..."}, false, "cluster alone knows where the log lies"},
	{"go.etcd.io/bbolt", []string{"cluster/..."}, false, "cluster alone knows where the log lies"},
	{"github.com/hashicorp/memberlist", []string{"gossip"}, false, "gossip alone knows that there is memberlist"},
	{
		"github.com/cockroachdb/pebble", []string{"fsm/...", "cluster/...", "client/clienttest", "internal/server/servertest", "internal/sim", "bench/..."}, true,
		"the tables belong to fsm, and a game's binary holds no Pebble",
	},
	{"github.com/anishathalye/porcupine", []string{"scripts/jepsen/internal/check"}, false, "one package judges the history of a chaos run"},
	{"github.com/hanwen/go-fuse", []string{"scripts/jepsen/internal/faultfs"}, false, "it serves a file system of tests, and no program that is shipped holds it"},
	{"github.com/prometheus/client_golang", []string{"internal/metrics"}, false, "measured code does not depend on how it is measured"},
	{
		"google.golang.org/grpc", []string{"api/...", "internal/server/...", "internal/sim", "internal/wire", "internal/clienthooks", "client/...", "cmd/...", "examples/...", "bench/...", "scripts/..."}, true,
		"the wire belongs to its two ends; packages below them do not depend on how a request came",
	},
}

func TestHouse(t *testing.T) {
	for _, c := range checkModule(mustReadModule(t)) {
		t.Error(c)
	}
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
}

// TestViolations proves that the checker can complain: each source breaks one rule.
func TestViolations(t *testing.T) {
	// What a pure package may have. It stands beside each broken file.
	const clean = `package fsm
		import ("errors"; "time"; _ "github.com/profilenode/profilenode/lock")
		var errX = errors.New("x")
		var level = 3 * time.Second
		func f() { mine := 1; mine = 2; _ = mine }`
	for _, c := range []struct{ path, source, want string }{
		{"client/a_test.go", `package client; import _ "github.com/profilenode/profilenode/cluster"`, "client may not import cluster"},
		{"lock/inner/a.go", `package inner`, "say in the table what it may import"},
		{"client/a.go", `package client; import _ "github.com/profilenode/profilenode/client/clienttest"`, "which is for tests"},
		{"scripts/jepsen/internal/check/a_test.go", `package check; import _ "github.com/profilenode/profilenode/fsm"`, "does not import the code that it checks"},
		{"cmd/profilenode/a.go", `package main; import _ "github.com/hanwen/go-fuse/v2/fs"`, "belongs to scripts/jepsen/internal/faultfs"},
		{"client/clienttest/a_test.go", `package clienttest; import _ "github.com/hashicorp/raft"`, "belongs to cluster/..."},
		{"fsm/a.go", `package fsm; import _ "sync/atomic"`, "may not import sync/atomic"},
		{"fsm/a.go", `package fsm; import . "strings"`, "with a dot"},
		{"lock/a.go", `package lock; import t "time"; var now = t.Now`, "may not use time.Now"},
		{"fsm/a.go", `package fsm; func g() { go g() }`, "starts no goroutine"},
		{"lock/a.go", `package lock; type t int; func (t) init() {}; func init() {}`, "has no init"},
		{"fsm/a.go", `package fsm; var seen = make(map[string]int)`, "seen can only be there to be written"},
		{"fsm/a.go", `package fsm; func g() { level++ }`, "level at package level may not be written"},
	} {
		var files []file
		for _, source := range [][2]string{{c.path, c.source}, {"fsm/clean.go", clean}} {
			f, err := parseFile(source[0], []byte(source[1]))
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, f)
		}
		if got := checkModule(files); len(got) != 1 || !strings.Contains(got[0], c.want) || !strings.HasPrefix(got[0], c.path+":") {
			t.Errorf("%s\n%s: complaints %q, want one at the file that says %q", c.path, c.source, got, c.want)
		}
	}
}
