package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/profilenode/profilenode/client/clienttest"
)

// get | change | set must not overwrite what was saved while the data was on its way.
func TestSetNeverOverwritesUnseen(t *testing.T) {
	s := serveOne(t)
	s.ask(t, `{"coins":1}`, "set", "players", "alice", "-").want(t, exitOK, "revision 1")
	s.ask(t, `{"coins":2}`, "set", "players", "alice", "-").want(t, exitFailed, "players/alice exists, at revision 1: say what this replaces", "--revision N", "--any-revision", "profilenode edit")
	s.ask(t, `{"coins":2}`, "set", "players", "alice", "-", "--force").want(t, exitFailed, "say what this replaces")
	s.ask(t, `{"coins":2}`, "set", "players", "alice", "-", "--revision", "1").want(t, exitOK, "revision 2")
	s.ask(t, `{"coins":3}`, "set", "players", "alice", "-", "--revision", "1").want(t, exitFailed, "at revision 2 now")
	s.ask(t, "", "get", "players", "alice").want(t, exitOK, `{"coins":2}`)
	s.ask(t, `{"coins":4}`, "set", "players", "alice", "-", "--any-revision").want(t, exitOK, "revision 3")
	s.ask(t, `{"coins":5}`, "set", "players", "alice", "-", "--any-revision", "--revision", "3").want(t, exitUsage, "any-revision")
	s.ask(t, "", "remove", "players", "alice", "--any-revision").want(t, exitOK, "revision 4")
	s.ask(t, `{"coins":6}`, "set", "players", "alice", "-").want(t, exitOK, "revision 5")
}

func TestWhatIsMeantToBeJSONMustParse(t *testing.T) {
	s := serveOne(t)
	file := filepath.Join(t.TempDir(), "alice.json")
	if err := os.WriteFile(file, []byte("coins: 1"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.ask(t, "", "set", "players", "alice", file).want(t, exitFailed, "not valid JSON", "--codec raw")
	s.ask(t, "{\n\"coins\":1,\n}", "set", "players", "alice", "-").want(t, exitFailed, "not valid JSON", "in line 3")
	s.ask(t, "", "set", "players", "alice", file, "--codec", "raw").want(t, exitOK, "revision 1")
	s.ask(t, "", "get", "players", "alice", "--meta").want(t, exitOK, "raw")
	s.ask(t, "{}", "set", "players", "bob", "-", "--codec", "17").want(t, exitUsage, `codec "17" is neither raw nor json`)
}

func TestAbsentProfileExitsOne(t *testing.T) {
	s := serveOne(t)
	s.ask(t, "", "get", "players", "nobody").want(t, exitFailed, "there is nothing at players/nobody")
	s.ask(t, "", "get", "players", "nobody", "--json").want(t, exitFailed, `"exists": false`, "there is nothing at")
	s.ask(t, "", "get", "players", "nobody", "--meta").want(t, exitFailed, "there is nothing at")
}

func TestPolicyTakesBothSpellings(t *testing.T) {
	s := serveOne(t)
	s.ask(t, "", "policy", "players", "max-waiters=4").want(t, exitOK, "max_waiters", "here")
	s.ask(t, "", "policy", "players", "max_waiters=5").want(t, exitOK, "max_waiters", "here")
	s.ask(t, "", "policy", "players", "--reset", "max-waiters").want(t, exitOK, "max_waiters", "default")
}

func TestKeysThatBeginWithADash(t *testing.T) {
	s := serveOne(t)
	s.ask(t, "", "get", "players", "-alice").want(t, exitUsage, "unknown shorthand flag", "hint: a key or store that begins with - comes behind --")
	s.ask(t, "{}", "set", "--", "players", "-alice", "-").want(t, exitOK, "revision 1")
	s.ask(t, "", "get", "--", "players", "-alice").want(t, exitOK, "{}")
	s.ask(t, "", "get", "players", "al\xffice").want(t, exitUsage, "is not UTF-8")
}

func TestVersionNamesTheCommit(t *testing.T) {
	s := &served{}
	for _, args := range [][]string{{"--version"}, {"version"}} {
		s.ask(t, "", args...).want(t, exitOK, "profilenode ", "commit ", "go1.")
	}
	s.ask(t, "", "version", "--json").want(t, exitOK, `"commit": "`)
}

func TestBinaryDataIsNotWrittenToATerminal(t *testing.T) {
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no terminal to be had here: %v", err)
	}
	defer terminal.Close()
	s := serveOne(t)
	s.ask(t, "\x1b]0;title\x07", "set", "raw", "steers", "-", "--codec", "raw").want(t, exitOK)
	s.ask(t, `{"a":"é"}`, "set", "raw", "text", "-").want(t, exitOK)
	for key, want := range map[string]int{"steers": exitFailed, "text": exitOK} {
		var errs bytes.Buffer
		got := runCommandLine(t.Context(), []string{"get", "raw", key}, process{strings.NewReader(""), terminal, &errs, []string{addrVariable + "=" + s.clients}})
		if got != want || want == exitFailed && !strings.Contains(errs.String(), "no text") {
			t.Errorf("%s: got %d %s, want %d", key, got, errs.String(), want)
		}
	}
	s.ask(t, "", "get", "raw", "steers").want(t, exitOK, "\x1b]0;title\x07") // a pipe gets every byte
}

func TestEveryCommandNamesUnknownVariables(t *testing.T) {
	for _, args := range [][]string{{"version"}, {"status", "--addr", "127.0.0.1:1", "--timeout", "1s"}, {"dev", "--nodes", "2"}} {
		var out, errs bytes.Buffer
		runCommandLine(t.Context(), args, process{strings.NewReader(""), &out, &errs, []string{"PROFILENODE_ADRR=10.0.0.1:7400", "PROFILENODE_ADDR=127.0.0.1:1"}})
		if !strings.Contains(errs.String(), "variable PROFILENODE_ADRR is no setting") || strings.Contains(errs.String(), "PROFILENODE_ADDR is") {
			t.Errorf("%v: got %s", args, errs.String())
		}
	}
}

func TestStatusWithoutALeaderExitsOne(t *testing.T) {
	free := freeAddresses(t, 4)
	s := beginServe(t, "--bind", free[3], "--bind-nodes", free[0], "--nodes", strings.Join(free[:3], ",")) // the others never come
	s.clients = free[3]
	for s.ask(t, "", "status", "--timeout", "500ms"); !listens(s.clients); {
		time.Sleep(10 * time.Millisecond)
	}
	s.ask(t, "", "status", "--timeout", "2s").want(t, exitFailed, "NODE", s.clients, "no leader")
	s.ask(t, "", "status", "--json", "--timeout", "2s").want(t, exitFailed, `"leader": ""`, "no leader")
}

// Examples are what people type first. Each runs as it stands, in a folder of its own, against a cluster with alice in it.
func TestEveryExampleOfEveryCommandRuns(t *testing.T) {
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("no shell here")
	}
	s := serveOne(t)
	program := buildProgram(t)
	var commands []*cobra.Command
	var walk func(*cobra.Command)
	walk = func(command *cobra.Command) {
		commands = append(commands, command)
		for _, below := range command.Commands() {
			walk(below)
		}
	}
	walk(rootCommand(process{}))
	players := clienttest.Store(t, openClient(t, s.clients), "players", score{})
	for _, command := range commands {
		examples := strings.ReplaceAll(command.Example, "\\\n", " ")
		for line := range strings.SplitSeq(examples, "\n") {
			line = strings.TrimSpace(line)
			if line == "" {
				continue
			}
			t.Run(line, func(t *testing.T) {
				if (command.Name() == "serve" || command.Name() == "dev") && !strings.Contains(line, "--print") {
					checkStart(t, line)
					return
				}
				s.ask(t, "", "remove", "players", "alice", "--any-revision", "--force", "--drop-messages")
				s.ask(t, "", "remove", "players", "bob", "--any-revision", "--force", "--drop-messages")
				s.ask(t, `{"coins":1}`, "set", "players", "alice", "-").want(t, exitOK)
				var alice profileJSON
				decode(t, s.ask(t, "", "get", "players", "alice", "--json"), &alice)
				var sent struct{ ID string }
				decode(t, s.ask(t, "", "send", "players", "alice", "{}", "--json"), &sent)
				if command.Name() == "release" {
					if _, err := players.StartSession(t.Context(), "alice"); err != nil {
						t.Fatal(err)
					}
				}
				if command.Name() == "remove" && !strings.Contains(line, "--drop-messages") {
					s.ask(t, "", "messages", "clear", "players", "alice", sent.ID).want(t, exitOK)
				}
				folder := t.TempDir()
				if err := os.WriteFile(filepath.Join(folder, "alice.json"), []byte(`{"coins":7}`), 0o600); err != nil {
					t.Fatal(err)
				}
				line := namedRevision.ReplaceAllString(line, fmt.Sprintf("--revision %d", alice.Revision))
				line = namedMessage.ReplaceAllString(line, "${1}"+sent.ID)
				shell := exec.CommandContext(t.Context(), "sh", "-c", line)
				shell.Dir = folder
				shell.Env = append(os.Environ(), "PATH="+filepath.Dir(program)+":"+os.Getenv("PATH"), addrVariable+"="+s.clients, "EDITOR=true")
				out, err := shell.CombinedOutput()
				for act, refused := range impossibleHere {
					if strings.Contains(line, act) {
						if !strings.Contains(string(out), refused) {
							t.Errorf("%v\n%s", err, out)
						}
						return
					}
				}
				if err != nil {
					t.Errorf("%v\n%s", err, out)
				}
			})
		}
	}
}

// impossibleHere are the acts of examples that one node which is well refuses, and what it says.
var impossibleHere = map[string]string{
	"alarms clear":     "is kept in the log",
	"members remove":   "nodes have an id that begins with",
	"members transfer": "hand the lead over",
}

// What an example names and only the cluster can give.
var (
	namedRevision = regexp.MustCompile(`--revision \d+`)
	namedMessage  = regexp.MustCompile(`(messages clear \S+ \S+ )\d+`)
)

// checkStart reads an example that would run a node or a cluster without end, and does not run it: its addresses and
// folders are those of other machines.
func checkStart(t *testing.T, line string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "sh", "-c", `profilenode() { printf '%s\n' "$@"; }; `+line).Output()
	if err != nil {
		t.Fatal(err)
	}
	words := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	command, args, err := rootCommand(process{}).Find(words)
	if err != nil {
		t.Fatal(err)
	}
	if err := command.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	if command.Name() == "serve" {
		if _, _, err := loadConfig("", command.Flags(), process{}); err != nil {
			t.Error(err)
		}
	}
}

func listens(address string) bool {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}
