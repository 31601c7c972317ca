package server

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

// Row is one line of the error table: a reason, the gRPC status that carries it, and one sentence that names the
// fault and the remedy.
type Row struct {
	Reason profilev1.Reason
	Status codes.Code
	Says   string
}

// table is the only place where a reason meets a status. Callers go by the reason; the status is for proxies, dashboards and
// people, so it says as much as gRPC's words can: Aborted is for requests that the same caller may try again after a look,
// FailedPrecondition for requests that stay refused until something else changes, Unavailable for another try or node.
var table = [...]Row{
	{profilev1.Reason_REASON_FENCED, codes.FailedPrecondition, "the token is not the profile's current one: this session is over, start another"},
	{profilev1.Reason_REASON_REVISION_DIFFERS, codes.Aborted, "the profile is at another revision than the request stands on: read it again and decide anew"},
	{profilev1.Reason_REASON_OWNED, codes.FailedPrecondition, "another game server owns the profile: wait for it, go there, or take it by force"},
	{profilev1.Reason_REASON_SERVER_GONE, codes.FailedPrecondition, "this incarnation has ended or never was: register again"},
	{profilev1.Reason_REASON_FORGOTTEN, codes.OutOfRange, "the request's number is settled or its answer too old: whether it happened is no longer known, read the profile to see"},
	{profilev1.Reason_REASON_ACKNOWLEDGE_FIRST, codes.ResourceExhausted, "too many numbers are unsettled: settle some, then send this again under the same number"},
	{profilev1.Reason_REASON_CLONED, codes.PermissionDenied, "the number was used for another request, so two processes share this incarnation: it was ended, let each register for itself"},
	{profilev1.Reason_REASON_NAME_HELD, codes.AlreadyExists, "a living game server has this name: choose another, or wait until that one is gone"},
	{profilev1.Reason_REASON_OTHER_CLUSTER, codes.FailedPrecondition, "this is another cluster, or another epoch of it, than the request was meant for: this copy did not happen, check the address"},
	{profilev1.Reason_REASON_INVALID, codes.InvalidArgument, "the request is malformed: this is a fault of the program that sent it"},
	{profilev1.Reason_REASON_TOO_LARGE, codes.InvalidArgument, "something in the request is over its limit: send less, or have an operator raise the store's policy"},
	{profilev1.Reason_REASON_QUEUE_FULL, codes.ResourceExhausted, "too many wait for the profile already: try again later, or have an operator raise the store's policy"},
	{profilev1.Reason_REASON_INBOX_FULL, codes.ResourceExhausted, "too many messages wait in the profile already, or too many bytes of them (policies max_messages, max_message_bytes): try again once its owner has worked some off"},
	{profilev1.Reason_REASON_NO_MESSAGE, codes.NotFound, "a message that the request names is not there any more, or is named twice: read the messages again"},
	{profilev1.Reason_REASON_PARTS_MISSING, codes.Aborted, "the data did not arrive whole: send it again under the same number"},
	{profilev1.Reason_REASON_DATA_DAMAGED, codes.DataLoss, "the data is not what its SHA-256 says: it was damaged on the way, send it again under a new number"},
	{profilev1.Reason_REASON_UNKNOWN_POLICY, codes.NotFound, "there is no policy of that name: list them first"},
	{profilev1.Reason_REASON_NO_PROFILE, codes.NotFound, "there is no profile at this store and key: check both"},
	{profilev1.Reason_REASON_NOT_WAITING, codes.NotFound, "no such ticket waits for the profile: it was cancelled, or its session is over"},
	{profilev1.Reason_REASON_GIVEN_UP, codes.Aborted, "the number was given up, so this did not happen and never will: use a new number"},
	{profilev1.Reason_REASON_SUPERSEDED, codes.Aborted, "what was judged has moved on: look again"},
	{profilev1.Reason_REASON_UNSUPPORTED, codes.Unimplemented, "not every node can apply this yet: finish the upgrade first"},
	{profilev1.Reason_REASON_NOT_OWNED, codes.FailedPrecondition, "nobody owns the profile: there is no session to end, whoever asks for it gets it"},
	{profilev1.Reason_REASON_UNKNOWN_CLASS, codes.NotFound, "there is no timing class of that name: have an operator make it with profilenode timing set, or name another"},
	{profilev1.Reason_REASON_MESSAGES_WAIT, codes.FailedPrecondition, "messages wait in the profile: have its owner work them off, or ask to drop them with it"},
	{profilev1.Reason_REASON_NOT_LEADER, codes.Unavailable, "this node does not lead: go to the leader with the same number"},
	{profilev1.Reason_REASON_BUSY, codes.ResourceExhausted, "too much is in flight here: try again soon with the same number"},
	{profilev1.Reason_REASON_NO_SPACE, codes.ResourceExhausted, "the disks of too many nodes are nearly full, so only saves that end a session are taken: free space there, and try again with the same number"},
	{profilev1.Reason_REASON_OTHER_REGISTRATION, codes.PermissionDenied, "this incarnation was registered by another process: register for yourself"},
	{profilev1.Reason_REASON_UNKNOWN_FIELDS, codes.Unimplemented, "the request has fields that this node does not know or does not carry out: ask a newer node, or send the request without them"},
	{profilev1.Reason_REASON_REGISTRATION_LIMITED, codes.ResourceExhausted, "too many game servers register, or are registered: wait and try again, or have an operator raise the policy"},
	{profilev1.Reason_REASON_ROLLED_BACK, codes.DataLoss, "the cluster lacks entries that the caller was told of: old disks were put back, so an operator must decide what is true"},
	{profilev1.Reason_REASON_UNCONFIRMED, codes.Unavailable, "this node could not confirm that it leads: try again, here or elsewhere"},
	{profilev1.Reason_REASON_UNAUTHORIZED, codes.PermissionDenied, "the caller may not do this: use credentials that may"},
	{profilev1.Reason_REASON_UNKNOWN, codes.Unknown, "it is not known whether this happened: try again under the same number, at whichever node leads"},
	{profilev1.Reason_REASON_FAILED, codes.Internal, "this node broke while it worked on the request and its log says how: treat the outcome as unknown and try another node under the same number"},
}

// Table is the error table, for documents and checks.
func Table() []Row { return table[:] }

// reasons says why a command was refused. A code that is missing here is FAILED, never a success.
var reasons = [...]profilev1.Reason{
	fsm.Fenced:           profilev1.Reason_REASON_FENCED,
	fsm.RevisionDiffers:  profilev1.Reason_REASON_REVISION_DIFFERS,
	fsm.Owned:            profilev1.Reason_REASON_OWNED,
	fsm.ServerGone:       profilev1.Reason_REASON_SERVER_GONE,
	fsm.Forgotten:        profilev1.Reason_REASON_FORGOTTEN,
	fsm.AcknowledgeFirst: profilev1.Reason_REASON_ACKNOWLEDGE_FIRST,
	fsm.Cloned:           profilev1.Reason_REASON_CLONED,
	fsm.NameHeld:         profilev1.Reason_REASON_NAME_HELD,
	fsm.OtherCluster:     profilev1.Reason_REASON_OTHER_CLUSTER,
	fsm.Invalid:          profilev1.Reason_REASON_INVALID,
	fsm.TooLarge:         profilev1.Reason_REASON_TOO_LARGE,
	fsm.QueueFull:        profilev1.Reason_REASON_QUEUE_FULL,
	fsm.InboxFull:        profilev1.Reason_REASON_INBOX_FULL,
	fsm.NoMessage:        profilev1.Reason_REASON_NO_MESSAGE,
	fsm.PartsMissing:     profilev1.Reason_REASON_PARTS_MISSING,
	fsm.DataDamaged:      profilev1.Reason_REASON_DATA_DAMAGED,
	fsm.UnknownPolicy:    profilev1.Reason_REASON_UNKNOWN_POLICY,
	fsm.NoProfile:        profilev1.Reason_REASON_NO_PROFILE,
	fsm.NotWaiting:       profilev1.Reason_REASON_NOT_WAITING,
	fsm.GivenUp:          profilev1.Reason_REASON_GIVEN_UP,
	fsm.Superseded:       profilev1.Reason_REASON_SUPERSEDED,
	fsm.NotOwned:         profilev1.Reason_REASON_NOT_OWNED,

	fsm.OtherRegistration: profilev1.Reason_REASON_OTHER_REGISTRATION,
	fsm.UnknownClass:      profilev1.Reason_REASON_UNKNOWN_CLASS,
	fsm.MessagesWait:      profilev1.Reason_REASON_MESSAGES_WAIT,
	fsm.TooManyServers:    profilev1.Reason_REASON_REGISTRATION_LIMITED,
}

// ReasonOf is why a command with this code was refused; REASON_UNSPECIFIED: it was not, it is done or queued.
func ReasonOf(code fsm.Code) profilev1.Reason {
	if code == fsm.OK || code == fsm.Queued {
		return profilev1.Reason_REASON_UNSPECIFIED
	}
	if int(code) < len(reasons) && reasons[code] != profilev1.Reason_REASON_UNSPECIFIED {
		return reasons[code]
	}
	return profilev1.Reason_REASON_FAILED
}

func errorRowOf(reason profilev1.Reason) Row {
	for _, row := range table {
		if row.Reason == reason {
			return row
		}
	}
	return Row{profilev1.Reason_REASON_FAILED, codes.Internal, "this node gave no reason: treat the outcome as unknown"}
}

// refusalError makes the status of a refusal; an empty sentence stands for the table's.
func refusalError(r *profilev1.Refusal, says string) error {
	row := errorRowOf(r.Reason)
	if says == "" {
		says = row.Says + refusalFacts(r)
	}
	st, err := status.New(row.Status, says).WithDetails(r)
	if err != nil {
		return status.Error(row.Status, says)
	}
	return st.Err()
}

// refusalFacts are the facts of a refusal that help a person besides its sentence.
func refusalFacts(r *profilev1.Refusal) string {
	var known []string
	note := func(is bool, format string, args ...any) {
		if is {
			known = append(known, fmt.Sprintf(format, args...))
		}
	}
	if r.Reason == profilev1.Reason_REASON_FENCED {
		note(r.Cause != profilev1.Cause_CAUSE_UNSPECIFIED, "cause %v", lock.Cause(r.Cause))
		note(r.Owner.GetName() != "", "by %q", r.Owner.GetName())
	} else {
		note(r.Owner.GetName() != "", "owner %q", r.Owner.GetName())
	}
	note(r.Owner.GetWhere() != "", "at %q", r.Owner.GetWhere())
	note(r.Reason == profilev1.Reason_REASON_REVISION_DIFFERS, "it is at revision %d", r.Revision)
	if r.Reason == profilev1.Reason_REASON_NAME_HELD {
		note(r.Limit != 0, "its lease is %v", time.Duration(r.Limit)*time.Millisecond)
	} else {
		note(r.Limit != 0, "limit %d", r.Limit)
	}
	note(r.Policy != "", "policy %s", r.Policy)
	note(r.RetryAfterMs != 0, "try again in %v", time.Duration(r.RetryAfterMs)*time.Millisecond)
	note(r.Leader != "", "leader %s", r.Leader)
	note(len(r.Cluster) > 0, "this is cluster %x, epoch %d", r.Cluster, r.Epoch)
	if len(known) == 0 {
		return ""
	}
	return " (" + strings.Join(known, ", ") + ")"
}

// refusalTable makes the status of each call that a node or its tables did not carry out.
type refusalTable struct {
	node Node
	log  *slog.Logger
}

// refusedResult is the status of a command that the rules refused, nil when they did not.
func (t *refusalTable) refusedResult(number uint64, result fsm.Result) error {
	reason := ReasonOf(result.Code)
	if reason == profilev1.Reason_REASON_UNSPECIFIED {
		return nil
	}
	if reason == profilev1.Reason_REASON_FAILED {
		t.log.Error("a code of the tables has no reason", "code", result.Code, "index", result.Index)
	}
	refusal := t.refusalOf(number, result)
	if reason == profilev1.Reason_REASON_OTHER_CLUSTER || reason == profilev1.Reason_REASON_OTHER_REGISTRATION {
		standing := t.node.Position()
		refusal.Cluster, refusal.Epoch = standing.Cluster, standing.Epoch
	}
	return refusalError(refusal, "")
}

// refusalOf is the refusal of a command that the rules refused, without what only some reasons bring.
func (t *refusalTable) refusalOf(number uint64, result fsm.Result) *profilev1.Refusal {
	return &profilev1.Refusal{
		Reason: ReasonOf(result.Code), Number: number, Index: result.Index, Revision: result.Revision, Token: uint64(result.Token),
		Limit: result.Limit, Owner: t.ownerOf(result.Owner),
	}
}

// proposeError is the status of a change that got no answer from the log: refused where the cluster says so, else unknown.
func (t *refusalTable) proposeError(number uint64, err error) error {
	r, says := t.classify(err)
	r.Number = number
	if r.Reason == profilev1.Reason_REASON_FAILED {
		t.log.Error("a change failed", "number", number, "error", err)
	}
	return refusalError(r, says)
}

// readError is the status of a read that got no answer. A read changes nothing, so one that ran out of time is unconfirmed.
func (t *refusalTable) readError(err error) error {
	r, says := t.classify(err)
	if r.Reason == profilev1.Reason_REASON_UNKNOWN {
		r.Reason, says = profilev1.Reason_REASON_UNCONFIRMED, ""
	}
	if r.Reason == profilev1.Reason_REASON_FAILED {
		t.log.Error("a read failed", "error", err)
	}
	return refusalError(r, says)
}

// brokenError is the status of a read that this node's own tables could not serve.
func (t *refusalTable) brokenError(number uint64, err error) error {
	if errors.Is(err, cluster.ErrClosed) {
		return t.readError(err)
	}
	t.log.Error("the tables cannot be read", "error", err)
	return refusalError(&profilev1.Refusal{Reason: profilev1.Reason_REASON_FAILED, Number: number}, "")
}

// unknownOutcomeError is the status of a change that was applied, but whose answer this node's tables could not give. No error
// of the cluster's may stand for it: those say that nothing happened.
func (t *refusalTable) unknownOutcomeError(number uint64, err error) error {
	t.log.Error("an answer cannot be read", "number", number, "error", err)
	return refusalError(&profilev1.Refusal{Reason: profilev1.Reason_REASON_UNKNOWN, Number: number}, "")
}

// classify puts an error of the cluster under its reason. The act of an unknown error may have happened.
func (t *refusalTable) classify(err error) (r *profilev1.Refusal, says string) {
	var notLeader *cluster.NotLeaderError
	switch {
	case errors.As(err, &notLeader):
		return &profilev1.Refusal{Reason: profilev1.Reason_REASON_NOT_LEADER, Leader: notLeader.Leader}, ""
	case errors.Is(err, cluster.ErrClosed):
		return &profilev1.Refusal{Reason: profilev1.Reason_REASON_NOT_LEADER, Leader: t.leaderHint()},
			"this node is shutting down: go to another node with the same number"
	case errors.Is(err, cluster.ErrBusy):
		return &profilev1.Refusal{Reason: profilev1.Reason_REASON_BUSY}, ""
	case errors.Is(err, cluster.ErrNoSpace):
		return &profilev1.Refusal{Reason: profilev1.Reason_REASON_NO_SPACE}, ""
	case errors.Is(err, cluster.ErrUnconfirmed):
		return &profilev1.Refusal{Reason: profilev1.Reason_REASON_UNCONFIRMED}, ""
	case errors.Is(err, cluster.ErrFailed):
		return &profilev1.Refusal{Reason: profilev1.Reason_REASON_FAILED}, ""
	}
	return &profilev1.Refusal{Reason: profilev1.Reason_REASON_UNKNOWN}, ""
}

// leaderHint is the leader's client address, empty when it is this node or not known.
func (t *refusalTable) leaderHint() string {
	leader, self := t.node.Leader()
	if self {
		return ""
	}
	return leader
}
