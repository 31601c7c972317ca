package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	pb "github.com/profilenode/profilenode/api/profilev1"
)

// maxData is the most that a profile holds, in bytes.
const maxData = 4 << 20

func setCommand(p process) *cobra.Command {
	var w setOptions
	command := &cobra.Command{
		Use:   "set STORE KEY FILE",
		Short: "overwrite a profile's data with a file, or - for stdin",
		Long: `set overwrites a profile without a session. A profile that exists is overwritten at the revision that --revision names,
as get --meta printed it when the data was read, and is refused if somebody has saved since; or whatever its revision is,
with --any-revision. It is refused when a game server owns the profile, unless --force is given.

profilenode edit does all of it in an editor.`,
		Example: `  profilenode set players alice alice.json --revision 1
  profilenode set players alice alice.json --any-revision
  profilenode set players bob alice.json`,
		Args: requireArguments("STORE", "KEY", "FILE"),
	}
	a := addClusterFlags(p, command)
	w.addFlags(command)
	command.Flags().StringVar(&w.codec, "codec", "", "how the data is encoded: raw or json (default: as it was; for a new profile json if it is JSON)")
	command.RunE = runAct(func(ctx context.Context, args []string) error {
		data, err := readData(p, args[2])
		if err != nil {
			return err
		}
		w.revisionGiven = command.Flags().Changed("revision")
		w.store, w.key, w.data, w.named = args[0], args[1], data, args[2]
		return w.runSet(ctx, a)
	})
	return command
}

// setOptions are the data to be written and the revision that it may replace.
type setOptions struct {
	store, key    string
	data          []byte
	named         string // the file that it came from
	codec         string // as given, empty: as it was
	revision      uint64
	revisionGiven bool
	any           bool
	force         bool
}

func (w *setOptions) addFlags(command *cobra.Command) {
	command.Flags().Uint64Var(&w.revision, "revision", 0, "the revision that this replaces, as get --meta prints it; 0: never saved")
	command.Flags().BoolVar(&w.any, "any-revision", false, "replace it whatever its revision is: what others saved meanwhile is lost")
	command.Flags().BoolVar(&w.force, "force", false, "also when a game server owns it: it loses its session")
	command.MarkFlagsMutuallyExclusive("revision", "any-revision")
}

func (w *setOptions) runSet(ctx context.Context, a *clusterFlags) error {
	hash := sha256.Sum256(w.data)
	request := &pb.SetRequest{
		Store: w.store, Key: w.key, Expected: w.revision, AnyRevision: w.any, Data: w.data, Hash: hash[:], KeepTags: true, Force: w.force,
	}
	return a.withCluster(ctx, func(ctx context.Context, c *clusterConn) error {
		if err := w.completeRequest(ctx, c, request); err != nil {
			return err
		}
		stands, err := setProfile(ctx, c, request)
		if err != nil {
			return err
		}
		return printReplyHeader(a, w.store, w.key, "saved", stands)
	})
}

// completeRequest takes the codec from the profile as it is, if none was given. Without a revision it goes on only where there
// is no profile: the one that is there now may be newer than the one that the data was made from.
func (w *setOptions) completeRequest(ctx context.Context, c *clusterConn, request *pb.SetRequest) (err error) {
	if w.codec != "" {
		if request.Codec, err = parseCodec(w.codec); err != nil {
			return &usageError{err}
		}
	}
	reply, err := c.getProfile(ctx, &pb.GetRequest{Store: w.store, Key: w.key, WithoutData: true})
	if err != nil {
		return err
	}
	profile := reply.GetProfile()
	switch {
	case w.revisionGiven || w.any:
	case profile.GetExists():
		return &hintedError{
			fmt.Errorf("%s/%s exists, at revision %d: say what this replaces", w.store, w.key, profile.GetRevision()),
			fmt.Sprintf("--revision N, as get --meta printed it when you read the data (%d if that was just now); --any-revision overwrites what others saved meanwhile; profilenode edit takes care of it", profile.GetRevision()),
		}
	default:
		request.Expected = profile.GetRevision()
	}
	if w.codec == "" && profile.GetExists() {
		request.Codec = profile.GetCodec()
	} else if w.codec == "" && json.Valid(w.data) {
		request.Codec = codecJSON
	}
	if request.GetCodec() == codecJSON || w.codec != "raw" && w.looksLikeJSON() {
		return checkJSON(w.data)
	}
	return nil
}

// looksLikeJSON says whether the data is meant to be JSON, whether or not it is.
func (w *setOptions) looksLikeJSON() bool {
	return strings.HasSuffix(strings.ToLower(w.named), ".json") || strings.HasPrefix(strings.TrimLeft(string(w.data[:min(len(w.data), 64)]), " \t\r\n"), "{")
}

// checkJSON says where data stops being JSON.
func checkJSON(data []byte) error {
	var ignored json.RawMessage
	err := json.Unmarshal(data, &ignored)
	if err == nil {
		return nil
	}
	where := ""
	if syntax, ok := err.(*json.SyntaxError); ok {
		before := string(data[:min(int(syntax.Offset), len(data))])
		where = fmt.Sprintf(" in line %d", 1+strings.Count(before, "\n"))
	}
	return &hintedError{fmt.Errorf("the data is not valid JSON: %w%s", err, where), "correct it, or say --codec raw if it is meant to be something else"}
}

func setProfile(ctx context.Context, c *clusterConn, request *pb.SetRequest) (stands *pb.ReplyHeader, err error) {
	err = withRegisteredTool(ctx, c, func(t *registeredTool) error {
		reply := &pb.SetResponse{}
		err := t.changeAndSettle(ctx, pb.Profiles_Set_FullMethodName, request, reply)
		stands = reply.GetHeader()
		if t.settled != nil {
			stands = t.settled
		}
		return err
	})
	return stands, err
}

// readData reads a file, or stdin for -, whole; one byte more than allowed is a fault and not read on.
func readData(p process, name string) ([]byte, error) {
	from := p.in
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("read data: %w", err)
		}
		defer file.Close()
		from = file
	}
	data, err := io.ReadAll(io.LimitReader(from, maxData+1))
	if err != nil {
		return nil, fmt.Errorf("read data: %w", err)
	}
	if len(data) > maxData {
		return nil, fmt.Errorf("%s holds more than %d bytes, the most that a profile may have", name, maxData)
	}
	return data, nil
}

// printReplyHeader tells how a change ended.
func printReplyHeader(a *clusterFlags, store, key, what string, stands *pb.ReplyHeader) error {
	if a.json {
		return printObject(a.p.out, struct {
			Store    string `json:"store"`
			Key      string `json:"key"`
			Revision uint64 `json:"revision"`
			Index    uint64 `json:"index"`
		}{store, key, stands.GetRevision(), stands.GetIndex()})
	}
	_, err := fmt.Fprintf(a.p.err, "%s %s/%s, revision %d\n", what, store, key, stands.GetRevision())
	return err
}
