package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// asked is what a command answered.
type asked struct {
	code      int
	out, errs string
}

// ask runs a command against a node.
func (s *served) ask(t *testing.T, stdin string, args ...string) asked {
	t.Helper()
	var out, errs bytes.Buffer
	code := runCommandLine(t.Context(), args, process{strings.NewReader(stdin), &out, &errs, []string{addrVariable + "=" + s.clients}})
	return asked{code, out.String(), errs.String()}
}

// want fails the test unless a command ended so, and what it said has each part in it.
func (a asked) want(t *testing.T, code int, parts ...string) {
	t.Helper()
	if a.code != code {
		t.Fatalf("exit code: got %d, want %d\nstdout: %s\nstderr: %s", a.code, code, a.out, a.errs)
	}
	for _, part := range parts {
		if !strings.Contains(a.out+a.errs, part) {
			t.Errorf("got\n%s%s\nwant %q in it", a.out, a.errs, part)
		}
	}
}

func TestCommands(t *testing.T) {
	s := serveOne(t)

	t.Run("Status", func(t *testing.T) {
		s.ask(t, "", "status").want(t, exitOK, "NODE", s.clients, "leader", "yes")
		var status statusJSON
		decode(t, s.ask(t, "", "status", "--json"), &status)
		if len(status.Nodes) != 1 || status.Leader == "" || status.Leader != status.Nodes[0].ID || status.Nodes[0].Applied == 0 {
			t.Errorf("got %+v", status)
		}
	})

	t.Run("ByteForByte", func(t *testing.T) {
		every := make([]byte, 256)
		for i := range every {
			every[i] = byte(i)
		}
		for name, data := range map[string]string{"empty": "", "bytes": string(every), "no line end": `{"a":1}`, "line end": "{}\n"} {
			path := filepath.Join(t.TempDir(), "data")
			if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
				t.Fatal(err)
			}
			s.ask(t, "", "set", "raw", name, path, "--codec", "raw").want(t, exitOK, "saved raw/"+name+", revision 1")
			got := s.ask(t, "", "get", "raw", name)
			if got.want(t, exitOK); got.out != data {
				t.Errorf("%s: got %q, want %q", name, got.out, data)
			}
		}
	})

	t.Run("Revisions", func(t *testing.T) {
		s.ask(t, `{"coins":1}`, "set", "players", "alice", "-").want(t, exitOK, "revision 1")
		s.ask(t, `{"coins":2}`, "set", "players", "alice", "-", "--revision", "1").want(t, exitOK, "revision 2")
		s.ask(t, `{"coins":3}`, "set", "players", "alice", "-", "--revision", "1").want(t, exitFailed, "profilenode: ", "at revision 2 now")
		s.ask(t, "", "get", "players", "alice").want(t, exitOK, `{"coins":2}`)
		var profile profileJSON
		decode(t, s.ask(t, "", "get", "players", "alice", "--json"), &profile)
		if profile.Revision != 2 || profile.Codec != "json" || string(bytes.Join(bytes.Fields(profile.Data), nil)) != `{"coins":2}` {
			t.Errorf("got %+v", profile)
		}
		s.ask(t, "", "get", "players", "alice", "--meta").want(t, exitOK, "revision", "2", "owner")
		s.ask(t, "no json", "set", "players", "alice", "-", "--revision", "2").want(t, exitFailed, "not valid JSON", "--codec raw")
	})

	t.Run("Remove", func(t *testing.T) {
		s.ask(t, "{}", "set", "players", "bob", "-").want(t, exitOK, "revision 1")
		s.ask(t, "", "remove", "players", "bob", "--revision", "7").want(t, exitFailed, "at revision 1 now")
		s.ask(t, "", "send", "players", "bob", "{}").want(t, exitOK)
		s.ask(t, "", "remove", "players", "bob").want(t, exitFailed, "messages wait in the profile", "1 wait", "--drop-messages")
		s.ask(t, "", "remove", "players", "bob", "--drop-messages").want(t, exitOK, "removed players/bob, revision 2")
		s.ask(t, "", "audit", "--key", "bob").want(t, exitOK, "remove", "revision 2, messages dropped: 1")
		s.ask(t, "", "get", "players", "bob").want(t, exitFailed, "there is nothing at players/bob")
		s.ask(t, "", "remove", "players", "bob").want(t, exitFailed, "there is nothing at players/bob")
		s.ask(t, "{}", "set", "players", "bob", "-").want(t, exitOK, "revision 3")
	})

	t.Run("Send", func(t *testing.T) {
		s.ask(t, "", "send", "players", "alice", `{"gift":"sword"}`).want(t, exitOK, "sent to players/alice, message ")
		s.ask(t, `{"gift":"shield"}`, "send", "players", "alice", "-").want(t, exitOK)
		s.ask(t, "", "send", "players", "alice", "gift: sword").want(t, exitUsage, "not valid JSON: quote it")
		var profile profileJSON
		decode(t, s.ask(t, "", "get", "players", "alice", "--json"), &profile)
		if profile.Messages == nil || *profile.Messages != 2 {
			t.Errorf("messages: got %v, want 2", profile.Messages)
		}
	})

	t.Run("List", func(t *testing.T) {
		s.ask(t, "", "list").want(t, exitOK, "players", "raw")
		got := s.ask(t, "", "list", "players", "a")
		if got.want(t, exitOK, "alice"); strings.Contains(got.out, "bob") {
			t.Errorf("the prefix did not hold: %s", got.out)
		}
		if got := s.ask(t, "", "list", "raw", "--json", "--limit", "2"); strings.Count(got.out, "\n") != 2 {
			t.Errorf("got %d lines, want 2:\n%s", strings.Count(got.out, "\n"), got.out)
		}
	})

	t.Run("Timing", func(t *testing.T) {
		s.ask(t, "", "timing").want(t, exitOK, "RENEW", "default", "4.5s")
		times := []string{"renew=5s", "doubt=20s", "evidence=25s", "lease=40s", "hand-off=1m"}
		s.ask(t, "", append([]string{"timing", "set", "http"}, times...)...).want(t, exitOK, "http", "20s", "1m")
		s.ask(t, "", "timing", "set", "http", "renew=5s").want(t, exitUsage, "doubt is missing")
		s.ask(t, "", append([]string{"timing", "set", "http", "tick=1s"}, times...)...).want(t, exitUsage, `"tick=1s"`)
		s.ask(t, "", append([]string{"timing", "set", "http", "renew=5s"}, times...)...).want(t, exitUsage, "renew is given twice")
		times[2] = "evidence=24.5s"
		s.ask(t, "", append([]string{"timing", "set", "http"}, times...)...).want(t, exitFailed, "evidence 24.5s must be above 24.5s", "lose its profiles")
		s.ask(t, "", "timing", "--json").want(t, exitOK, `{"name":"default","renew_ms":1000,"doubt_ms":3000,"evidence_ms":4500,"lease_ms":10000,"hand_off_ms":10000}`)
		s.ask(t, "", "servers", "--all").want(t, exitOK, "TIMING", "default")
	})

	t.Run("Servers", func(t *testing.T) {
		s.ask(t, "", "servers", "--all").want(t, exitOK, "tool", "gone")
		if got := s.ask(t, "", "servers"); strings.Contains(got.out, "tool-") {
			t.Errorf("tools shown among the game servers:\n%s", got.out)
		}
		s.ask(t, "", "sessions").want(t, exitOK, "OWNER")
		s.ask(t, "", "sessions", "players", "--json").want(t, exitOK)
	})

	t.Run("Digest", func(t *testing.T) {
		s.ask(t, "", "digest").want(t, exitOK, "all agree")
		var digests digestsJSON
		decode(t, s.ask(t, "", "digest", "--json"), &digests)
		if !digests.Agree || len(digests.Nodes) != 1 || digests.Nodes[0].Index == 0 {
			t.Errorf("got %+v", digests)
		}
	})

	t.Run("Policy", func(t *testing.T) {
		got := s.ask(t, "", "policy", "--json")
		got.want(t, exitOK)
		var first policyJSON
		if err := json.Unmarshal([]byte(strings.SplitN(got.out, "\n", 2)[0]), &first); err != nil {
			t.Fatal(err)
		}
		s.ask(t, "", "policy", "players", "no-such-policy=1").want(t, exitFailed, "no_such_policy", "profilenode policy shows every policy")
		s.ask(t, "", "policy", "players", first.Name+"=many").want(t, exitUsage, "no whole number behind the =")
	})

	t.Run("ForceTakesAway", func(t *testing.T) {
		game := openClient(t, s.clients)
		profile := startSession(t, game, "carol")
		s.ask(t, "{}", "set", store, "carol", "-", "--any-revision").want(t, exitFailed, "it belongs to "+game.Name(), "--force takes it away")
		s.ask(t, "", "sessions", store).want(t, exitOK, "carol", game.Name(), "in force")
		s.ask(t, "", "servers").want(t, exitOK, game.Name())
		s.ask(t, `{"n":7}`, "set", store, "carol", "-", "--force", "--any-revision").want(t, exitOK, "saved")
		within(t, "the owner learns that its session is over", profile.Done())
		s.ask(t, "", "get", store, "carol").want(t, exitOK, `{"n":7}`)
	})

	t.Run("Usage", func(t *testing.T) {
		s.ask(t, "", "get", "players").want(t, exitUsage, "get takes STORE KEY, not 1 arguments")
		s.ask(t, "", "status", "--addr", "nowhere").want(t, exitUsage, `addr "nowhere" is not an address`)
		s.ask(t, "", "status", "--addr", "10.1.2.3:7400").want(t, exitUsage, "on another machine: give --tls-ca")
		s.ask(t, "", "status", "--timeout", "0s").want(t, exitUsage, "leaves no time")
		s.ask(t, "", "statsu").want(t, exitUsage, `unknown command "statsu"`)
		s.ask(t, "", "set", "players", "alice", "/no/such/file").want(t, exitFailed, "read data: open /no/such/file")
		s.ask(t, strings.Repeat("x", maxData+1), "set", "players", "alice", "-").want(t, exitFailed, "the most that a profile may have")
	})
}

func TestNobodyThere(t *testing.T) {
	address := freeAddresses(t, 1)[0]
	s := &served{clients: address}
	for _, command := range [][]string{{"status"}, {"get", "a", "b"}, {"set", "a", "b", "-"}, {"digest"}, {"servers"}} {
		s.ask(t, "{}", command...).want(t, exitFailed, "profilenode: no node answers at "+address+": connection refused", "hint: start a cluster with profilenode dev")
	}
}

func decode(t *testing.T, a asked, into any) {
	t.Helper()
	a.want(t, exitOK)
	if err := json.Unmarshal([]byte(a.out), into); err != nil {
		t.Fatalf("%v in\n%s", err, a.out)
	}
}

// Commands that only read register nothing: neither a rate nor the number of registered game servers keeps an operator from looking.
func TestCommandsThatReadDoNotRegister(t *testing.T) {
	s := serveOne(t)
	s.ask(t, `{"gold":1}`, "set", "players", "ann", "-").want(t, exitOK)
	registered := func() int { return strings.Count(s.ask(t, "", "servers", "--all").out, "tool") }
	before := registered()
	if before == 0 {
		t.Fatal("a command that changes something has not registered: this test shows nothing")
	}
	for _, command := range [][]string{
		{"status"}, {"get", "players", "ann"}, {"list", "players"}, {"sessions"}, {"servers"}, {"audit"}, {"messages", "players", "ann"},
		{"policy"}, {"policy", "players"}, {"timing"}, {"digest"}, {"members"},
	} {
		s.ask(t, "", command...).want(t, exitOK)
	}
	if now := registered(); now != before {
		t.Errorf("commands that read have registered %d times", now-before)
	}
}
