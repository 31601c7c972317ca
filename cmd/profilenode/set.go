package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	pb "github.com/profilenode/profilenode/api/profilev1"
	"github.com/spf13/cobra"
	"google.golang.org/grpc"
)

// maxData is the most that a profile holds, in bytes.
const maxData = 4 << 20

func setCommand(p process) *cobra.Command {
	var revision uint64
	var force bool
	var codec string
	command := &cobra.Command{
		Use:   "set STORE KEY FILE",
		Short: "overwrite a profile's data with a file, or - for stdin",
		Long: `set overwrites a profile without a session. It replaces the revision that the profile has now, or the one named by
--revision, and is refused when somebody saves in between, and when a game server owns the profile.`,
		Example: `  profilenode get players alice | jq '.coins += 100' | profilenode set players alice -
  profilenode set players alice alice.json --revision 12`,
		Args: exactly("STORE", "KEY", "FILE"),
	}
	a := askFlags(p, command)
	command.Flags().Uint64Var(&revision, "revision", 0, "the revision that this replaces; 0: never saved (default: the one that is there)")
	command.Flags().BoolVar(&force, "force", false, "also when a game server owns it: it loses its session")
	command.Flags().StringVar(&codec, "codec", "", "how the data is encoded: raw, json or a number (default: as it was; for a new profile json if it is JSON)")
	command.RunE = act(func(ctx context.Context, args []string) error {
		data, err := readData(p, args[2])
		if err != nil {
			return err
		}
		return a.do(ctx, func(ctx context.Context, c *conn) error {
			request := &pb.SetRequest{
				Store: args[0], Key: args[1], Expected: revision, Data: data, KeepTags: true, Force: force,
			}
			hash := sha256.Sum256(data)
			request.Hash = hash[:]
			if err := fillFromCurrent(ctx, c, request, codec, command.Flags().Changed("revision")); err != nil {
				return err
			}
			var stands *pb.Stands
			err := asTool(ctx, c, func(t *tool) error {
				var reply *pb.SetResponse
				err := t.change(ctx, request, func(r *pb.Request) { request.Request = r },
					func(ctx context.Context, cc *grpc.ClientConn) (err error) {
						reply, err = pb.NewProfilesClient(cc).Set(ctx, request)
						return err
					})
				stands = reply.GetStands()
				if t.settled != nil {
					stands = t.settled
				}
				return err
			})
			if err != nil {
				return err
			}
			return printStands(a, args[0], args[1], "saved", stands)
		})
	})
	return command
}

// fillFromCurrent takes what the command line left open from the profile as it is: the revision to replace, and the codec.
func fillFromCurrent(ctx context.Context, c *conn, request *pb.SetRequest, codec string, knowsRevision bool) (err error) {
	if codec != "" {
		if request.Codec, err = parseCodec(codec); err != nil {
			return &usageError{err}
		}
	}
	if !knowsRevision || codec == "" {
		reply, err := c.get(ctx, &pb.GetRequest{Store: request.GetStore(), Key: request.GetKey(), WithoutData: true})
		if err != nil {
			return err
		}
		if !knowsRevision {
			request.Expected = reply.GetProfile().GetRevision()
		}
		switch {
		case codec != "":
		case reply.GetProfile().GetExists():
			request.Codec = reply.GetProfile().GetCodec()
		case json.Valid(request.GetData()):
			request.Codec = codecJSON
		}
	}
	if request.GetCodec() == codecJSON && !json.Valid(request.GetData()) {
		return &hinted{errors.New("the data is not valid JSON, and this profile's codec is json"), "correct it, or say --codec raw if it is meant to be something else"}
	}
	return nil
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

// printStands tells how a change ended.
func printStands(a *asking, store, key, what string, stands *pb.Stands) error {
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
