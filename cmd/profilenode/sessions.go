package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	pb "github.com/profilenode/profilenode/api/profilev1"
)

func sessionsCommand(p process) *cobra.Command {
	var stale bool
	command := &cobra.Command{
		Use:   "sessions [STORE]",
		Short: "list who owns which profile, and who waits",
		Long: `sessions lists every owned profile: its owner, since when, when the leader heard the owner last, and how the session stands:

  in force           the owner holds it
  owner silent       the owner was not heard for 3 s or more
  asked to let go    somebody waits, or an operator asked; it saves and ends, or is revoked after 10 s
  revoked            its writes are refused; the next session starts once it has said that it is over, or after 4.5 s

Below each stand those who wait for it, in their order.`,
		Args: cobra.MaximumNArgs(1),
	}
	a := addClusterFlags(p, command)
	command.Flags().BoolVar(&stale, "stale", false, "ask any node, which may lag behind")
	command.RunE = runAct(func(ctx context.Context, args []string) error {
		request := &pb.SessionsRequest{Mode: readModeFor(stale)}
		if len(args) == 1 {
			request.Store = args[0]
		}
		return listSessions(ctx, a, request)
	})
	return command
}

func listSessions(ctx context.Context, a *clusterFlags, request *pb.SessionsRequest) error {
	t := newTextTable(discardIf(a.json, a.p.out), "STORE", "KEY", "OWNER", "SINCE", "REVISION", "WAITING", "LAST HEARD", "STATE")
	for {
		reply := &pb.SessionsResponse{}
		if err := a.withCluster(ctx, func(ctx context.Context, c *clusterConn) error {
			return c.ask(ctx, pb.Cluster_Sessions_FullMethodName, request, reply)
		}); err != nil {
			return err
		}
		for _, session := range reply.GetSessions() {
			if a.json {
				if err := printJSON(a.p.out, sessionToJSON(session)); err != nil {
					return err
				}
				continue
			}
			t.addRow(escapeUnprintable(session.GetStore()), escapeUnprintable(session.GetKey()), formatOwner(session.GetOwner()),
				formatTime(session.GetSinceMs()), strconv.FormatUint(session.GetRevision(), 10),
				strconv.Itoa(len(session.GetWaiters())), formatSilence(true, session.GetSilentMs()), describeSessionState(session))
			for i, waiter := range session.GetWaiters() {
				t.addRow(" ", " ", fmt.Sprintf("%d. %s", i+1, escapeUnprintable(describeOwner(waiter))), " ", " ", " ", " ", "waits for "+formatBriefDuration(durationOfMS(waiter.GetWaitsMs())))
			}
		}
		got := len(reply.GetSessions())
		if !reply.GetMore() || got == 0 {
			return t.flush()
		}
		last := reply.GetSessions()[got-1]
		request.AfterOwner, request.AfterStore, request.AfterKey = last.GetOwner().GetIncarnation(), last.GetStore(), last.GetKey()
	}
}

// silentFrom is from when on the owner of a session is shown as silent: in the default timing class it is in doubt by then.
const silentFrom = 3 * time.Second

func describeSessionState(session *pb.Session) string {
	pending := ""
	if ms := session.GetPendingMs(); ms >= 0 {
		pending = " for " + formatBriefDuration(durationOfMS(ms))
	}
	silent := ""
	if d := durationOfMS(session.GetSilentMs()); d >= silentFrom {
		silent = ", owner silent for " + formatBriefDuration(d)
	}
	switch {
	case session.GetRevoked():
		return "revoked (" + causeName(session.GetCause()) + "), waits for its word" + pending + silent
	case session.GetOperator():
		return "asked by an operator to let go" + pending + silent
	case session.GetLetGo():
		return "asked to let go" + pending + silent
	case silent != "":
		return silent[len(", "):]
	}
	return "in force"
}

// causeName is the cause of a session's end, in the words of the wire: late, stolen, overwritten, ...
func causeName(cause pb.Cause) string {
	if cause == pb.Cause_CAUSE_UNSPECIFIED {
		return "unknown"
	}
	return strings.ToLower(strings.TrimPrefix(cause.String(), "CAUSE_"))
}

type sessionJSON struct {
	Store     string       `json:"store"`
	Key       string       `json:"key"`
	Token     string       `json:"token"`
	Owner     *ownerJSON   `json:"owner"`
	Since     string       `json:"since"`
	Revision  uint64       `json:"revision"`
	LetGo     bool         `json:"let_go"`
	Operator  bool         `json:"operator"` // asked
	Revoked   bool         `json:"revoked"`
	Cause     string       `json:"cause,omitempty"` // of that
	PendingMS *int64       `json:"pending_ms"`      // null: it is not to let go, or that is not known
	SilentMS  *int64       `json:"silent_ms"`       // of the owner; null: not known
	Waiters   []waiterJSON `json:"waiters"`
}

type waiterJSON struct {
	ownerJSON
	WaitsMS int64 `json:"waits_ms"`
}

func sessionToJSON(session *pb.Session) sessionJSON {
	shape := sessionJSON{
		Store: session.GetStore(), Key: session.GetKey(), Token: strconv.FormatUint(session.GetToken(), 10),
		Owner: ownerToJSON(session.GetOwner()), Since: formatTime(session.GetSinceMs()), Revision: session.GetRevision(),
		LetGo: session.GetLetGo(), Operator: session.GetOperator(), Revoked: session.GetRevoked(), Waiters: []waiterJSON{},
	}
	if session.GetRevoked() {
		shape.Cause = causeName(session.GetCause())
	}
	if ms := session.GetPendingMs(); ms >= 0 {
		shape.PendingMS = &ms
	}
	if ms := session.GetSilentMs(); ms >= 0 {
		shape.SilentMS = &ms
	}
	for _, waiter := range session.GetWaiters() {
		shape.Waiters = append(shape.Waiters, waiterJSON{*ownerToJSON(waiter), waiter.GetWaitsMs()})
	}
	return shape
}
