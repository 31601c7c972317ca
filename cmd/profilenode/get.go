package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	pb "github.com/profilenode/profilenode/api/profilev1"
)

// How a game encoded its data; the store does not look inside.
const (
	codecRaw  = 0
	codecJSON = 1
)

func getCommand(p process) *cobra.Command {
	var meta, stale bool
	command := &cobra.Command{
		Use:   "get STORE KEY",
		Short: "print a profile's data, byte for byte",
		Long: `get prints a profile's data as it is stored, and nothing else: no line end is added.
The exit code is 1 when the profile was never saved or was removed. Data that is no text is not written to a terminal.`,
		Example: `  profilenode get players alice > alice.json
  profilenode get players alice --meta`,
		Args: requireArguments("STORE", "KEY"),
	}
	a := addClusterFlags(p, command)
	command.Flags().BoolVar(&meta, "meta", false, "print what is known about the profile instead of its data")
	command.Flags().BoolVar(&stale, "stale", false, "ask any node, which may lag behind")
	command.RunE = runAct(func(ctx context.Context, args []string) error {
		return a.withCluster(ctx, func(ctx context.Context, c *clusterConn) error {
			request := &pb.GetRequest{Store: args[0], Key: args[1], Mode: readModeFor(stale), WithoutData: meta && !a.json}
			reply, err := c.getProfile(ctx, request)
			if err != nil {
				return err
			}
			if err := printProfile(a, meta, request, reply); err != nil {
				return err
			}
			if !reply.GetProfile().GetExists() {
				return profileNotFound(args[0], args[1])
			}
			return nil
		})
	})
	return command
}

func printProfile(a *clusterFlags, meta bool, request *pb.GetRequest, reply *pb.GetResponse) error {
	data := reply.GetProfile().GetData()
	switch {
	case a.json:
		return printObject(a.p.out, profileWithDataToJSON(request, reply))
	case meta:
		return printProfileMeta(a.p, request, reply)
	case isTerminal(a.p.out) && !isText(data):
		return &hintedError{
			fmt.Errorf("%s/%s holds %d bytes that are no text, which could confuse the terminal", request.GetStore(), request.GetKey(), len(data)),
			"write them to a file with > FILE, or see them with --json",
		}
	}
	_, err := a.p.out.Write(data)
	return err
}

func (c *clusterConn) getProfile(ctx context.Context, request *pb.GetRequest) (*pb.GetResponse, error) {
	reply := &pb.GetResponse{}
	err := c.ask(ctx, pb.Profiles_Get_FullMethodName, request, reply)
	return reply, err
}

func profileNotFound(store, key string) error {
	return &hintedError{fmt.Errorf("there is nothing at %s/%s", store, key), "profilenode list " + store + " shows what there is"}
}

func readModeFor(stale bool) pb.ReadMode {
	if stale {
		return pb.ReadMode_READ_MODE_STALE
	}
	return pb.ReadMode_READ_MODE_LINEARIZABLE
}

func printProfileMeta(p process, request *pb.GetRequest, reply *pb.GetResponse) error {
	profile := reply.GetProfile()
	t := newTextTable(p.out, "store", request.GetStore())
	t.addRow("key", request.GetKey())
	t.addRow("exists", yesOrNo(profile.GetExists()))
	t.addRow("revision", strconv.FormatUint(profile.GetRevision(), 10))
	t.addRow("owner", formatOwner(reply.GetOwner()))
	t.addRow("codec", codecName(profile.GetCodec()))
	t.addRow("hash", hex.EncodeToString(profile.GetHash()))
	t.addRow("created", formatTime(profile.GetCreatedMs()))
	t.addRow("saved", formatTime(profile.GetSavedMs()))
	t.addRow("token", strconv.FormatUint(profile.GetToken(), 10))
	t.addRow("sessions", strconv.FormatUint(reply.GetLoadCount(), 10))
	t.addRow("waiting", strconv.FormatUint(reply.GetWaiters(), 10))
	t.addRow("messages", strconv.FormatUint(reply.GetMessages(), 10))
	t.addRow("set aside", strconv.FormatUint(reply.GetSetAside(), 10))
	t.addRow("tags", formatTags(profile.GetTags()))
	t.addRow("index", strconv.FormatUint(reply.GetHeader().GetIndex(), 10))
	return t.flush()
}

func formatOwner(owner *pb.Owner) string {
	cell := escapeUnprintable(describeOwner(owner))
	if owner != nil && !owner.GetInForce() {
		cell += ", gone"
	}
	return cell
}

func formatTags(tags map[string]string) string {
	var cells []string
	for name, value := range tags {
		cells = append(cells, escapeUnprintable(name+"="+value))
	}
	slices.Sort(cells)
	return strings.Join(cells, " ")
}

func codecName(codec uint32) string {
	switch codec {
	case codecRaw:
		return "raw"
	case codecJSON:
		return "json"
	}
	return fmt.Sprintf("unknown (%d)", codec)
}

func parseCodec(text string) (uint32, error) {
	switch text {
	case "raw":
		return codecRaw, nil
	case "json":
		return codecJSON, nil
	}
	return 0, fmt.Errorf("codec %q is neither raw nor json", text)
}

// Shapes of --json. 64-bit numbers that are names rather than amounts are text: JSON readers lose their last digits.
type (
	profileJSON struct {
		Store      string            `json:"store"`
		Key        string            `json:"key"`
		Exists     bool              `json:"exists"`
		Revision   uint64            `json:"revision"`
		Codec      string            `json:"codec"`
		Hash       string            `json:"sha256,omitempty"`
		Created    string            `json:"created,omitempty"`
		Saved      string            `json:"saved,omitempty"`
		Token      string            `json:"token"`
		Tags       map[string]string `json:"tags,omitempty"`
		Owner      *ownerJSON        `json:"owner,omitempty"`
		Messages   *uint64           `json:"messages,omitempty"`
		SetAside   *uint64           `json:"set_aside,omitempty"` // messages set aside after three panics
		Waiting    *uint64           `json:"waiting,omitempty"`
		Sessions   *uint64           `json:"sessions,omitempty"`
		Index      uint64            `json:"index,omitempty"`
		Data       json.RawMessage   `json:"data,omitempty"`        // when it is JSON
		DataBase64 []byte            `json:"data_base64,omitempty"` // when it is not
	}
	ownerJSON struct {
		Incarnation string `json:"incarnation"`
		Name        string `json:"name"`
		Where       string `json:"where,omitempty"`
		InForce     bool   `json:"in_force"`
	}
)

func profileWithDataToJSON(request *pb.GetRequest, reply *pb.GetResponse) profileJSON {
	shape := profileToJSON(reply.GetProfile())
	shape.Store, shape.Key = request.GetStore(), request.GetKey()
	shape.Owner = ownerToJSON(reply.GetOwner())
	messages, setAside, waiting, sessions := reply.GetMessages(), reply.GetSetAside(), reply.GetWaiters(), reply.GetLoadCount()
	shape.Messages, shape.SetAside, shape.Waiting, shape.Sessions = &messages, &setAside, &waiting, &sessions
	shape.Index = reply.GetHeader().GetIndex()
	data := reply.GetProfile().GetData()
	if reply.GetProfile().GetCodec() == codecJSON && json.Valid(data) {
		shape.Data = data
	} else {
		shape.DataBase64 = data
	}
	return shape
}

func profileToJSON(profile *pb.Profile) profileJSON {
	return profileJSON{
		Store: profile.GetStore(), Key: profile.GetKey(),
		Exists: profile.GetExists(), Revision: profile.GetRevision(),
		Codec: codecName(profile.GetCodec()), Hash: hex.EncodeToString(profile.GetHash()),
		Created: formatTime(profile.GetCreatedMs()), Saved: formatTime(profile.GetSavedMs()),
		Token: strconv.FormatUint(profile.GetToken(), 10), Tags: profile.GetTags(),
	}
}

func ownerToJSON(owner *pb.Owner) *ownerJSON {
	if owner == nil {
		return nil
	}
	return &ownerJSON{strconv.FormatUint(owner.GetIncarnation(), 10), owner.GetName(), owner.GetWhere(), owner.GetInForce()}
}
