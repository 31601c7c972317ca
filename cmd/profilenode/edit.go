package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	pb "github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/internal/wire"
)

func editCommand(p process) *cobra.Command {
	var force bool
	command := &cobra.Command{
		Use:   "edit STORE KEY",
		Short: "change a profile's data in an editor",
		Long: `edit opens a profile's data in $VISUAL, $EDITOR or vi, and stores what was changed at the revision that was opened. If
somebody has saved meanwhile, or the change is not valid JSON, nothing is stored and the edited file is kept: the error says
where, and what to do. JSON without line breaks is indented for the editor, and stored without them again.`,
		Example: `  profilenode edit players alice`,
		Args:    requireArguments("STORE", "KEY"),
	}
	a := addClusterFlags(p, command)
	command.Flags().BoolVar(&force, "force", false, "also when a game server owns it: it loses its session")
	command.RunE = runAct(func(ctx context.Context, args []string) error {
		e := &profileEdit{a: a, store: args[0], key: args[1], force: force}
		if err := a.withCluster(ctx, e.openProfile); err != nil {
			return err
		}
		return e.editUntilSaved(ctx)
	})
	return command
}

// profileEdit is one profile on its way through an editor.
type profileEdit struct {
	a          *clusterFlags
	store, key string
	force      bool
	profile    *pb.Profile
	text       []byte // as the editor gets it
	indented   bool
	path       string
}

func (e *profileEdit) openProfile(ctx context.Context, c *clusterConn) error {
	reply, err := c.getProfile(ctx, &pb.GetRequest{Store: e.store, Key: e.key})
	if err != nil {
		return err
	}
	e.profile = reply.GetProfile()
	if !e.profile.GetExists() {
		return profileNotFound(e.store, e.key)
	}
	e.text = e.profile.GetData()
	if !isText(e.text) {
		return &hintedError{fmt.Errorf("%s/%s holds binary data", e.store, e.key), "get it into a file, and set it from one with --revision"}
	}
	var indented bytes.Buffer
	if e.profile.GetCodec() == codecJSON && !bytes.ContainsRune(e.text, '\n') && json.Indent(&indented, e.text, "", "  ") == nil {
		indented.WriteByte('\n')
		e.text, e.indented = indented.Bytes(), true
	}
	return nil
}

// editUntilSaved edits and stores. The file is removed only when nothing in it could be lost.
func (e *profileEdit) editUntilSaved(ctx context.Context) error {
	if err := e.writeTempFile(); err != nil {
		return err
	}
	failed := e.startEditor()
	data, err := readData(e.a.p, e.path)
	if err != nil {
		return &hintedError{err, "what was edited is in " + e.path}
	}
	switch {
	case bytes.Equal(data, e.text) || !bytes.HasSuffix(e.text, []byte("\n")) && bytes.Equal(bytes.TrimSuffix(data, []byte("\n")), e.text):
		_ = os.Remove(e.path) // it holds the profile's data
		if failed != nil {
			return failed
		}
		fmt.Fprintln(e.a.p.err, "nothing was changed")
		return nil
	case failed != nil:
		return e.errorWithKeptFile(failed)
	}
	if !bytes.HasSuffix(e.text, []byte("\n")) {
		data = bytes.TrimSuffix(data, []byte("\n")) // editors add it
	}
	if e.profile.GetCodec() == codecJSON {
		var broken *hintedError
		if err := checkJSON(data); errors.As(err, &broken) {
			return e.errorWithKeptFile(broken.error)
		}
	}
	if e.indented {
		var compact bytes.Buffer
		if err := json.Compact(&compact, data); err != nil {
			return e.errorWithKeptFile(err)
		}
		data = compact.Bytes()
	}
	return e.saveEdited(ctx, data)
}

func (e *profileEdit) saveEdited(ctx context.Context, data []byte) error {
	hash := sha256.Sum256(data)
	request := &pb.SetRequest{
		Store: e.store, Key: e.key, Expected: e.profile.GetRevision(), Codec: e.profile.GetCodec(), Data: data, Hash: hash[:],
		KeepTags: true, Force: e.force,
	}
	var stands *pb.ReplyHeader
	err := e.a.withCluster(ctx, func(ctx context.Context, c *clusterConn) (err error) {
		stands, err = setProfile(ctx, c, request)
		return err
	})
	if err != nil {
		return e.errorWithKeptFile(err)
	}
	if err := os.Remove(e.path); err != nil {
		fmt.Fprintf(e.a.p.err, "it is stored, and its copy could not be removed: %v\n", err)
	}
	return printReplyHeader(e.a, e.store, e.key, "saved", stands)
}

// writeTempFile makes the file for the editor, which only its owner may read.
func (e *profileEdit) writeTempFile() error {
	suffix := ".txt"
	if e.profile.GetCodec() == codecJSON {
		suffix = ".json"
	}
	file, err := os.CreateTemp("", "profilenode-*"+suffix) // mode 0600
	if err != nil {
		return fmt.Errorf("make a file for the editor: %w", err)
	}
	e.path = file.Name()
	_, err = file.Write(e.text)
	if err = errors.Join(err, file.Close()); err != nil {
		_ = os.Remove(e.path)
		return fmt.Errorf("make a file for the editor: %w", err)
	}
	return nil
}

func (e *profileEdit) startEditor() error {
	editor := "vi"
	for _, name := range []string{"EDITOR", "VISUAL"} {
		if text, ok := e.a.p.lookupVariable(name); ok && strings.TrimSpace(text) != "" {
			editor = text
		}
	}
	command := exec.Command("sh", "-c", editor+` "$1"`, "sh", e.path) // it may have arguments: code --wait
	if runtime.GOOS == "windows" {
		words := append(strings.Fields(editor), e.path)
		command = exec.Command(words[0], words[1:]...)
	}
	command.Env, command.Stdin, command.Stdout, command.Stderr = e.a.p.environ, e.a.p.in, e.a.p.out, e.a.p.err
	if err := command.Run(); err != nil {
		return &hintedError{fmt.Errorf("the editor %q failed: %w", editor, err), "name another in EDITOR"}
	}
	return nil
}

// errorWithKeptFile adds to an error that the edited file is still there, and how to use it.
func (e *profileEdit) errorWithKeptFile(err error) error {
	again := fmt.Sprintf("profilenode set %s %s %s --revision", quoteForShell(e.store), quoteForShell(e.key), e.path)
	do := fmt.Sprintf("then: %s %d", again, e.profile.GetRevision())
	switch refusal := wire.RefusalIn(err); refusal.GetReason() {
	case pb.Reason_REASON_REVISION_DIFFERS:
		do = fmt.Sprintf("it was saved by another meanwhile: compare with profilenode get, and then: %s %d", again, refusal.GetRevision())
	case pb.Reason_REASON_OWNED:
		do = "a game server owns it: --force takes it away; " + do
	}
	return &hintedError{err, fmt.Sprintf("the edited file is kept in %s; %s", e.path, do)}
}

// quoteForShell is text as one word of a shell.
func quoteForShell(text string) string {
	plain := func(r rune) bool {
		return r < 128 && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_./:@%+=-", r))
	}
	if text != "" && !strings.HasPrefix(text, "-") && strings.IndexFunc(text, func(r rune) bool { return !plain(r) }) < 0 {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
