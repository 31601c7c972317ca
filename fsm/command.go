package fsm

import "github.com/profilenode/profilenode/fsm/logpb"

// The commands are stored in the log, so their formats are logpb's, which outlive builds. Packages that propose commands
// use these names.
type (
	Command = logpb.Command
	Request = logpb.Request
	Data    = logpb.Data
	Tags    = logpb.Tags

	Register          = logpb.Register
	EndServer         = logpb.EndServer
	Settle            = logpb.Settle
	StartSession      = logpb.StartSession
	Cancel            = logpb.Cancel
	Save              = logpb.Save
	Release           = logpb.Release
	MessagePanic      = logpb.MessagePanic
	Send              = logpb.Send
	ClearMessage      = logpb.ClearMessage
	Set               = logpb.Set
	Remove            = logpb.Remove
	SetPolicy         = logpb.SetPolicy
	PutPart           = logpb.PutPart
	Reclaim           = logpb.Reclaim
	Claim             = logpb.Claim
	ReleaseByOperator = logpb.ReleaseByOperator
	FoundCluster      = logpb.FoundCluster
	PolicyValue       = logpb.PolicyValue
	OpenTerm          = logpb.OpenTerm
	ExpireServers     = logpb.ExpireServers
	Expiry            = logpb.Expiry
	GrantToWaiters    = logpb.GrantToWaiters
	Revoke            = logpb.Revoke
	Lapse             = logpb.Lapse
	ForgetEnded       = logpb.ForgetEnded
	CountMinute       = logpb.CountMinute
	SetNode           = logpb.SetNode
	RemoveNode        = logpb.RemoveNode
	RaiseLevel        = logpb.RaiseLevel
	SuspectLeader     = logpb.SuspectLeader

	SetTimingClass = logpb.SetTimingClass
	CompareRange   = logpb.CompareRange
	DropDue        = logpb.DropDue
	RaiseAlarm     = logpb.RaiseAlarm
	ClearAlarm     = logpb.ClearAlarm
	ExpectNode     = logpb.ExpectNode
)

// NewCommand returns a command; request is nil for a command of the cluster itself. It panics at an act that
// is none of the above.
func NewCommand(request *Request, act any) *Command {
	c := &Command{Request: request}
	switch a := act.(type) {
	case *Register:
		c.Act = &logpb.Command_Register{Register: a}
	case *EndServer:
		c.Act = &logpb.Command_EndServer{EndServer: a}
	case *Settle:
		c.Act = &logpb.Command_Settle{Settle: a}
	case *StartSession:
		c.Act = &logpb.Command_StartSession{StartSession: a}
	case *Cancel:
		c.Act = &logpb.Command_Cancel{Cancel: a}
	case *Save:
		c.Act = &logpb.Command_Save{Save: a}
	case *Release:
		c.Act = &logpb.Command_Release{Release: a}
	case *Send:
		c.Act = &logpb.Command_Send{Send: a}
	case *ClearMessage:
		c.Act = &logpb.Command_ClearMessage{ClearMessage: a}
	case *Set:
		c.Act = &logpb.Command_Set{Set: a}
	case *Remove:
		c.Act = &logpb.Command_Remove{Remove: a}
	case *SetPolicy:
		c.Act = &logpb.Command_SetPolicy{SetPolicy: a}
	case *PutPart:
		c.Act = &logpb.Command_PutPart{PutPart: a}
	case *Reclaim:
		c.Act = &logpb.Command_Reclaim{Reclaim: a}
	case *ReleaseByOperator:
		c.Act = &logpb.Command_ReleaseByOperator{ReleaseByOperator: a}
	case *FoundCluster:
		c.Act = &logpb.Command_FoundCluster{FoundCluster: a}
	case *OpenTerm:
		c.Act = &logpb.Command_OpenTerm{OpenTerm: a}
	case *ExpireServers:
		c.Act = &logpb.Command_ExpireServers{ExpireServers: a}
	case *GrantToWaiters:
		c.Act = &logpb.Command_GrantToWaiters{GrantToWaiters: a}
	case *Revoke:
		c.Act = &logpb.Command_Revoke{Revoke: a}
	case *Lapse:
		c.Act = &logpb.Command_Lapse{Lapse: a}
	case *ForgetEnded:
		c.Act = &logpb.Command_ForgetEnded{ForgetEnded: a}
	case *CountMinute:
		c.Act = &logpb.Command_CountMinute{CountMinute: a}
	case *SetNode:
		c.Act = &logpb.Command_SetNode{SetNode: a}
	case *RemoveNode:
		c.Act = &logpb.Command_RemoveNode{RemoveNode: a}
	case *SetTimingClass:
		c.Act = &logpb.Command_SetTimingClass{SetTimingClass: a}
	case *SuspectLeader:
		c.Act = &logpb.Command_SuspectLeader{SuspectLeader: a}
	case *RaiseLevel:
		c.Act = &logpb.Command_RaiseLevel{RaiseLevel: a}
	case *CompareRange:
		c.Act = &logpb.Command_CompareRange{CompareRange: a}
	case *DropDue:
		c.Act = &logpb.Command_DropDue{DropDue: a}
	case *RaiseAlarm:
		c.Act = &logpb.Command_RaiseAlarm{RaiseAlarm: a}
	case *ClearAlarm:
		c.Act = &logpb.Command_ClearAlarm{ClearAlarm: a}
	case *ExpectNode:
		c.Act = &logpb.Command_ExpectNode{ExpectNode: a}
	default:
		panic("fsm: not an act")
	}
	return c
}
