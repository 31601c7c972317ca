package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	pb "github.com/profilenode/profilenode/api/profilev1"
)

const auditPage = 1000 // rows of one answer

func auditCommand(p process) *cobra.Command {
	var since time.Duration
	var limit int
	var stale bool
	var by string
	request := &pb.AuditRequest{}
	command := &cobra.Command{
		Use:   "audit",
		Short: "list who did what to profiles, sessions and the cluster",
		Long: `audit lists what operators and game servers did, the newest last:

  set        it was written without a session; from an owner with set --force
  remove     it was removed, likewise
  steal      a game server wanted the profile at once
  ask        an operator asked the owner to let go
  release    an operator took the profile: release --force
  late       the owner was asked to let go, did not in time, and was revoked
  give-up    the owner ended its session without its game's doing: the reason says why
  kept-save  the owner saved the copy that it had kept when it gave its session up, the cluster being out of reach
  end        a game server was found gone, and lost all it held; the reason is the ground

and what changed the cluster: policy, timing, clear alarm, expect node, node, remove node, level.

Of operators and of game servers the cluster keeps the newest 10,000 each, for 90 days: neither pushes out the other's.
An operator is a command of profilenode, or another tool; what the cluster did to itself is beside the operators' actions.`,
		Example: `  profilenode audit --store players --key alice
  profilenode audit --by operators --since 24h --json`,
		Args: cobra.NoArgs,
	}
	a := addClusterFlags(p, command)
	command.Flags().StringVar(&request.Store, "store", "", "of this store alone")
	command.Flags().StringVar(&request.Key, "key", "", "of this key alone")
	command.Flags().StringVar(&by, "by", "", "of operators or of servers alone (default: both, in order of time)")
	command.Flags().DurationVar(&since, "since", 0, "not older than this (default: all that are kept)")
	command.Flags().IntVar(&limit, "limit", 100, "the newest so many; 0: all that are kept")
	command.Flags().BoolVar(&stale, "stale", false, "ask any node, which may lag behind")
	command.RunE = runAct(func(ctx context.Context, _ []string) error {
		request.Mode = readModeFor(stale)
		ring, ok := auditRings[by]
		if !ok {
			return &usageError{fmt.Errorf("--by is operators or servers, not %q", by)}
		}
		request.Ring = ring
		if since > 0 {
			request.SinceMs = time.Now().Add(-since).UnixMilli()
		}
		audits, err := readAudits(ctx, a, request, limit)
		if err != nil {
			return err
		}
		t := newTextTable(discardIf(a.json, p.out), "TIME", "ACTION", "STORE", "KEY", "FROM", "BY", "REASON")
		for _, audit := range audits {
			if a.json {
				if err := printJSON(p.out, auditToJSON(audit)); err != nil {
					return err
				}
				continue
			}
			t.addRow(formatTime(audit.GetStampMs()), audit.GetAction(), audit.GetStore(), escapeUnprintable(audit.GetKey()), escapeUnprintable(describeOwner(audit.GetFrom())),
				auditActor(audit), escapeUnprintable(auditReason(audit)))
		}
		return t.flush()
	})
	return command
}

// auditRings are the values of --by, and the words of the JSON form.
var auditRings = map[string]pb.AuditRing{
	"":          pb.AuditRing_AUDIT_RING_UNSPECIFIED,
	"operators": pb.AuditRing_AUDIT_RING_OPERATORS,
	"servers":   pb.AuditRing_AUDIT_RING_GAME_SERVERS,
}

func auditRingName(ring pb.AuditRing) string {
	for name, r := range auditRings {
		if r == ring {
			return name
		}
	}
	return ""
}

// readAudits reads pages from the newest backwards.
func readAudits(ctx context.Context, a *clusterFlags, request *pb.AuditRequest, limit int) (audits []*pb.AuditRecord, err error) {
	for {
		request.Limit = auditPage
		if limit > 0 {
			request.Limit = uint32(min(limit-len(audits), auditPage))
		}
		reply := &pb.AuditResponse{}
		if err := a.withCluster(ctx, func(ctx context.Context, c *clusterConn) error {
			return c.ask(ctx, pb.Cluster_Audit_FullMethodName, request, reply)
		}); err != nil {
			return nil, err
		}
		page := reply.GetRecords()
		audits = append(slices.Clone(page), audits...)
		if !reply.GetMore() || len(page) == 0 || limit > 0 && len(audits) >= limit {
			return audits, nil
		}
		request.Before = page[0].GetNumber()
	}
}

// auditReason is the operator's reason, the ground of an end, the cause of a give-up, or the written revision.
func auditReason(audit *pb.AuditRecord) string {
	if audit.GetAction() == "give-up" {
		return auditCause(audit)
	}
	reason := audit.GetReason() + audit.GetGround()
	if audit.GetRevision() > 0 {
		reason += fmt.Sprintf("revision %d", audit.GetRevision())
	}
	if audit.GetDropped() > 0 {
		reason += fmt.Sprintf(", messages dropped: %d", audit.GetDropped())
	}
	return reason
}

// auditCause is empty where no session has ended.
func auditCause(audit *pb.AuditRecord) string {
	if audit.GetCause() == pb.Cause_CAUSE_UNSPECIFIED {
		return ""
	}
	return causeName(audit.GetCause())
}

func auditActor(audit *pb.AuditRecord) string {
	if audit.GetBy() == nil {
		return "the cluster"
	}
	return escapeUnprintable(describeOwner(audit.GetBy()))
}

type auditJSON struct {
	Number   uint64     `json:"number"`
	Ring     string     `json:"ring"` // operators or servers
	Time     string     `json:"time"`
	Action   string     `json:"action"`
	Store    string     `json:"store,omitempty"`
	Key      string     `json:"key,omitempty"`
	From     *partyJSON `json:"from"` // null: no owner lost anything by it
	By       *partyJSON `json:"by"`   // null: the cluster itself
	Ground   string     `json:"ground,omitempty"`
	Cause    string     `json:"cause,omitempty"` // of the session's end
	Reason   string     `json:"reason,omitempty"`
	Revision uint64     `json:"revision,omitempty"` // the profile's, after it
	Dropped  uint64     `json:"dropped,omitempty"`  // messages that a remove dropped
	Token    string     `json:"token"`
}

type partyJSON struct {
	Incarnation string `json:"incarnation"`
	Name        string `json:"name"`
	Where       string `json:"where,omitempty"`
}

func auditToJSON(audit *pb.AuditRecord) auditJSON {
	return auditJSON{
		Number: audit.GetNumber(), Ring: auditRingName(audit.GetRing()), Time: formatTime(audit.GetStampMs()),
		Action: audit.GetAction(), Store: audit.GetStore(), Key: audit.GetKey(),
		From: partyToJSON(audit.GetFrom()), By: partyToJSON(audit.GetBy()), Ground: audit.GetGround(), Cause: auditCause(audit), Reason: audit.GetReason(),
		Revision: audit.GetRevision(), Dropped: audit.GetDropped(), Token: strconv.FormatUint(audit.GetToken(), 10),
	}
}

func partyToJSON(party *pb.Owner) *partyJSON {
	if party == nil {
		return nil
	}
	return &partyJSON{Incarnation: strconv.FormatUint(party.GetIncarnation(), 10), Name: party.GetName(), Where: party.GetWhere()}
}
