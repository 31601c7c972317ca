package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// editWith runs edit with a shell script as the editor, which gets the file as its last argument.
func (s *served) editWith(t *testing.T, script string, args ...string) asked {
	t.Helper()
	editor := filepath.Join(t.TempDir(), "editor")
	if err := os.WriteFile(editor, []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", t.TempDir())
	var out, errs bytes.Buffer
	environ := append(os.Environ(), addrVariable+"="+s.clients, "VISUAL="+editor)
	code := runCommandLine(t.Context(), append([]string{"edit"}, args...), process{strings.NewReader(""), &out, &errs, environ})
	return asked{code, out.String(), errs.String()}
}

var keptFile = regexp.MustCompile(`the edited file is kept in (\S+);`)

// kept is the content of the file that an edit left behind.
func (a asked) kept(t *testing.T) string {
	t.Helper()
	found := keptFile.FindStringSubmatch(a.errs)
	if found == nil {
		t.Fatalf("no edited file was kept:\n%s", a.errs)
	}
	info, err := os.Stat(found[1])
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode of the edited file: got %v, want 0600", info.Mode().Perm())
	}
	data, err := os.ReadFile(found[1])
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func wantEmpty(t *testing.T, folder string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil || len(entries) != 0 {
		t.Errorf("files left in the temporary folder: %v %v", entries, err)
	}
}

func TestEdit(t *testing.T) {
	s := serveOne(t)
	put := func(key, data string) {
		t.Helper()
		s.ask(t, data, "set", "players", key, "-", "--any-revision").want(t, exitOK)
	}
	holds := func(key, want string) {
		t.Helper()
		if got := s.ask(t, "", "get", "players", key); got.out != want {
			t.Errorf("%s holds %q, want %q", key, got.out, want)
		}
	}

	t.Run("Changed", func(t *testing.T) {
		put("alice", `{"coins":1,"name":"Alice"}`)
		s.editWith(t, `case "$1" in *.json) sed -i 's/"coins": 1/"coins": 2/' "$1";; esac`, "players", "alice").
			want(t, exitOK, "saved players/alice, revision 2")
		holds("alice", `{"coins":2,"name":"Alice"}`)
		wantEmpty(t, os.Getenv("TMPDIR"))
	})
	t.Run("Unchanged", func(t *testing.T) {
		put("bob", `{"coins":1}`)
		s.editWith(t, `true`, "players", "bob").want(t, exitOK, "nothing was changed")
		s.ask(t, "", "get", "players", "bob", "--json").want(t, exitOK, `"revision": 1,`)
		wantEmpty(t, os.Getenv("TMPDIR"))
	})
	t.Run("SavedMeanwhileIsNotLost", func(t *testing.T) {
		put("carol", `{"coins":1}`)
		other := filepath.Join(t.TempDir(), "carol.json")
		if err := os.WriteFile(other, []byte(`{"coins":50}`), 0o600); err != nil {
			t.Fatal(err)
		}
		saves := make(chan asked, 1)
		fifo := filepath.Join(t.TempDir(), "opened")
		go func() {
			for !exists(fifo) {
			}
			saves <- s.ask(t, "", "set", "players", "carol", other, "--revision", "1")
			_ = os.WriteFile(fifo+"-done", nil, 0o600)
		}()
		got := s.editWith(t, fmt.Sprintf(`touch %[1]s; while [ ! -e %[1]s-done ]; do sleep 0.05; done; echo '{"coins":7}' > "$1"`, fifo), "players", "carol")
		(<-saves).want(t, exitOK)
		got.want(t, exitFailed, "it was saved by another meanwhile", "--revision 2")
		if kept := got.kept(t); kept != "{\"coins\":7}\n" {
			t.Errorf("kept %q", kept)
		}
		holds("carol", `{"coins":50}`)
	})
	t.Run("NotJSON", func(t *testing.T) {
		put("dave", `{"coins":1}`)
		got := s.editWith(t, `printf '{\n"coins":' > "$1"`, "players", "dave")
		got.want(t, exitFailed, "not valid JSON", "in line 2")
		if kept := got.kept(t); kept != "{\n\"coins\":" {
			t.Errorf("kept %q", kept)
		}
		holds("dave", `{"coins":1}`)
	})
	t.Run("EditorFails", func(t *testing.T) {
		put("erin", `{"coins":1}`)
		s.editWith(t, `exit 3`, "players", "erin").want(t, exitFailed, "the editor", "exit status 3")
		wantEmpty(t, os.Getenv("TMPDIR"))
		got := s.editWith(t, `echo '{}' > "$1"; exit 3`, "players", "erin")
		got.want(t, exitFailed, "exit status 3")
		got.kept(t)
		holds("erin", `{"coins":1}`)
	})
	t.Run("Owned", func(t *testing.T) {
		game := openClient(t, s.clients)
		s.ask(t, `{"n":1}`, "set", store, "frank", "-").want(t, exitOK)
		profile := startSession(t, game, "frank")
		got := s.editWith(t, `echo '{"n":2}' > "$1"`, store, "frank")
		got.want(t, exitFailed, "a game server owns it: --force takes it away")
		got.kept(t)
		s.editWith(t, `echo '{"n":2}' > "$1"`, store, "frank", "--force").want(t, exitOK, "saved")
		within(t, "the owner learns that its session is over", profile.Done())
		s.ask(t, "", "get", store, "frank").want(t, exitOK, `{"n":2}`)
	})
	t.Run("Binary", func(t *testing.T) {
		s.ask(t, "\x00\xff", "set", "players", "heidi", "-", "--codec", "raw").want(t, exitOK)
		s.editWith(t, `true`, "players", "heidi").want(t, exitFailed, "holds binary data")
	})
	t.Run("NothingThere", func(t *testing.T) {
		s.editWith(t, `true`, "players", "nobody").want(t, exitFailed, "there is nothing at players/nobody")
	})
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
