package main

import (
	"context"
	"strconv"

	pb "github.com/profilenode/profilenode/api/profilev1"
	"github.com/spf13/cobra"
	"google.golang.org/grpc"
)

func sessionsCommand(p process) *cobra.Command {
	var stale bool
	command := &cobra.Command{
		Use:   "sessions [STORE]",
		Short: "list who owns which profile, and who waits",
		Args:  cobra.MaximumNArgs(1),
	}
	a := askFlags(p, command)
	command.Flags().BoolVar(&stale, "stale", false, "ask any node, which may lag behind")
	command.RunE = act(func(ctx context.Context, args []string) error {
		request := &pb.SessionsRequest{Mode: readMode(stale)}
		if len(args) == 1 {
			request.Store = args[0]
		}
		return listSessions(ctx, a, request)
	})
	return command
}

func listSessions(ctx context.Context, a *asking, request *pb.SessionsRequest) error {
	t := newTable(discardIf(a.json, a.p.out), "STORE", "KEY", "OWNER", "SINCE", "REVISION", "WAITING", "STATE")
	for {
		var reply *pb.SessionsResponse
		if err := a.do(ctx, func(ctx context.Context, c *conn) error {
			return c.try(ctx, func(ctx context.Context, cc *grpc.ClientConn) (err error) {
				reply, err = pb.NewClusterClient(cc).Sessions(ctx, request)
				return err
			})
		}); err != nil {
			return err
		}
		for _, session := range reply.GetSessions() {
			if a.json {
				if err := printJSON(a.p.out, sessionShape(session)); err != nil {
					return err
				}
				continue
			}
			t.row(printable(session.GetStore()), printable(session.GetKey()), ownerCell(session.GetOwner()),
				formatTime(session.GetSinceMs()), strconv.FormatUint(session.GetRevision(), 10),
				strconv.Itoa(len(session.GetWaiters())), sessionState(session))
		}
		got := len(reply.GetSessions())
		if !reply.GetMore() || got == 0 {
			return t.end()
		}
		request.AfterStore, request.AfterKey = reply.GetSessions()[got-1].GetStore(), reply.GetSessions()[got-1].GetKey()
	}
}

func sessionState(session *pb.Session) string {
	switch {
	case session.GetRevoked():
		return "revoked"
	case session.GetLetGo():
		return "asked to let go"
	}
	return "in force"
}

type sessionJSON struct {
	Store    string       `json:"store"`
	Key      string       `json:"key"`
	Token    string       `json:"token"`
	Owner    *ownerJSON   `json:"owner"`
	Since    string       `json:"since"`
	Revision uint64       `json:"revision"`
	LetGo    bool         `json:"let_go"`
	Revoked  bool         `json:"revoked"`
	Waiters  []*ownerJSON `json:"waiters"`
}

func sessionShape(session *pb.Session) sessionJSON {
	shape := sessionJSON{
		Store: session.GetStore(), Key: session.GetKey(), Token: strconv.FormatUint(session.GetToken(), 10),
		Owner: ownerShape(session.GetOwner()), Since: formatTime(session.GetSinceMs()), Revision: session.GetRevision(),
		LetGo: session.GetLetGo(), Revoked: session.GetRevoked(), Waiters: []*ownerJSON{},
	}
	for _, waiter := range session.GetWaiters() {
		shape.Waiters = append(shape.Waiters, ownerShape(waiter))
	}
	return shape
}
