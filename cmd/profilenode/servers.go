package main

import (
	"context"
	"strconv"
	"time"

	pb "github.com/profilenode/profilenode/api/profilev1"
	"github.com/spf13/cobra"
	"google.golang.org/grpc"
)

func serversCommand(p process) *cobra.Command {
	var all, stale bool
	command := &cobra.Command{
		Use:   "servers",
		Short: "list the game servers",
		Args:  cobra.NoArgs,
	}
	a := askFlags(p, command)
	command.Flags().BoolVar(&all, "all", false, "also those that are gone, and command-line tools")
	command.Flags().BoolVar(&stale, "stale", false, "ask any node, which may lag behind")
	command.RunE = act(func(ctx context.Context, _ []string) error {
		return a.do(ctx, func(ctx context.Context, c *conn) error {
			var reply *pb.ServersResponse
			if err := c.try(ctx, func(ctx context.Context, cc *grpc.ClientConn) (err error) {
				reply, err = pb.NewClusterClient(cc).Servers(ctx, &pb.ServersRequest{Mode: readMode(stale)})
				return err
			}); err != nil {
				return err
			}
			t := newTable(discardIf(a.json, p.out), "NAME", "WHERE", "KIND", "STATE", "SINCE", "SESSIONS", "LAST HEARD", "GOSSIP", "INCARNATION")
			for _, s := range reply.GetServers() {
				if !all && (!s.GetAlive() || s.GetKind() == pb.ServerKind_SERVER_KIND_TOOL) {
					continue
				}
				if a.json {
					if err := printJSON(p.out, serverShape(s)); err != nil {
						return err
					}
					continue
				}
				t.row(printable(s.GetName()), printable(s.GetWhere()), kindName(s.GetKind()), aliveName(s.GetAlive()), formatTime(s.GetSinceMs()),
					strconv.FormatUint(s.GetSessions(), 10), silence(s), printable(s.GetGossip()), strconv.FormatUint(s.GetIncarnation(), 10))
			}
			return t.end()
		})
	})
	return command
}

func aliveName(alive bool) string {
	if alive {
		return "alive"
	}
	return "gone"
}

func kindName(kind pb.ServerKind) string {
	if kind == pb.ServerKind_SERVER_KIND_TOOL {
		return "tool"
	}
	return "game server"
}

// silence is empty when the node asked does not know, since it does not lead.
func silence(s *pb.Server) string {
	if s.GetSilentMs() < 0 || !s.GetAlive() {
		return ""
	}
	return (time.Duration(s.GetSilentMs()) * time.Millisecond).Round(100*time.Millisecond).String() + " ago"
}

type serverJSON struct {
	Incarnation string `json:"incarnation"`
	Name        string `json:"name"`
	Where       string `json:"where,omitempty"`
	Kind        string `json:"kind"`
	Alive       bool   `json:"alive"`
	Since       string `json:"since"`
	Sessions    uint64 `json:"sessions"`
	SilentMS    *int64 `json:"silent_ms"` // null: not known
	Gossip      string `json:"gossip,omitempty"`
}

func serverShape(s *pb.Server) serverJSON {
	shape := serverJSON{
		Incarnation: strconv.FormatUint(s.GetIncarnation(), 10), Name: s.GetName(), Where: s.GetWhere(), Kind: kindName(s.GetKind()),
		Alive: s.GetAlive(), Since: formatTime(s.GetSinceMs()), Sessions: s.GetSessions(), Gossip: s.GetGossip(),
	}
	if silent := s.GetSilentMs(); silent >= 0 {
		shape.SilentMS = &silent
	}
	return shape
}
