package fsm

import (
	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2"

	"github.com/profilenode/profilenode/fsm/logpb"
	"github.com/profilenode/profilenode/lock"
)

// transaction carries out entries in one batch: it hands each command to the table that it is about. The tables share its
// writer.
type transaction struct {
	tableWriter
	build Build

	alarms      alarmTable
	answers     answerTable
	audits      auditTable
	cluster     clusterTable
	comparison  comparisonTable
	gameServers gameServerTable
	grants      grantTable
	messages    messageTable
	nodes       nodeTable
	policies    policyTable
	records     recordTable
	sessions    sessionCommands
}

func newTransaction(m *Machine, batch *pebble.Batch) *transaction {
	t := &transaction{
		tableWriter: tableWriter{
			tableReader: tableReader{from: batch, rows: m.rows}, batch: batch, position: m.position, writes: xxhash.New(),
		},
		build: m.build,
	}
	w := &t.tableWriter
	t.audits = auditTable{tableWriter: w}
	t.policies = policyTable{w, &m.policies, &t.audits}
	t.alarms = alarmTable{w, &t.audits}
	t.nodes = nodeTable{w, &t.audits}
	t.cluster = clusterTable{w, &t.policies, &t.audits}
	t.comparison = comparisonTable{tableWriter: w}
	t.gameServers = gameServerTable{w, &t.policies, &t.audits}
	t.answers = answerTable{w, &t.gameServers}
	t.grants = grantTable{w, &t.gameServers}
	t.messages = messageTable{w, &t.grants, &t.policies, &t.audits}
	t.records = recordTable{w, &t.grants, &t.messages, &t.policies, &t.audits}
	t.sessions = sessionCommands{w, &t.grants, &t.messages, &t.policies, &t.audits}
	return t
}

func (t *transaction) applyEntry(log Log) (Applied, error) {
	if log.Index <= t.position.Index {
		return Applied{Skipped: true}, nil
	}
	entry, err := decodeEntry(log.Data, t.build, t.position.Cluster)
	if err != nil {
		return Applied{}, err
	}
	t.index, t.term, t.level, t.events = log.Index, log.Term, entry.Level, nil
	t.comparison.due = nil
	t.position.Index, t.position.Term = log.Index, log.Term
	t.position.StampMS = max(t.position.StampMS, entry.StampMs)
	results := make([]Result, len(entry.Commands))
	for place, command := range entry.Commands {
		t.token = lock.TokenAt(log.Index+t.position.Offset, place)
		t.writes.Reset()
		results[place] = t.runCommand(command)
		if results[place].Index == 0 {
			results[place].Index = log.Index
		}
		t.position.foldDigest(t.token, t.writes.Sum64())
		if t.err != nil {
			return Applied{}, t.err
		}
	}
	return Applied{Digest: t.position.Digest, Results: results, Events: t.events}, nil
}

// runCommand carries out one command. A command with a request is looked up in the answer table first.
func (t *transaction) runCommand(c *Command) Result {
	switch act := c.Act.(type) {
	case *logpb.Command_Register:
		return t.gameServers.registerServer(act.Register)
	case *logpb.Command_PutPart:
		return t.answers.putPart(c.Request, act.PutPart)
	case *logpb.Command_FoundCluster:
		return t.cluster.foundCluster(act.FoundCluster)
	case *logpb.Command_OpenTerm:
		return Result{}
	case *logpb.Command_ExpireServers:
		return t.gameServers.expireServers(act.ExpireServers)
	case *logpb.Command_GrantToWaiters:
		return t.sessions.grantToWaiters(act.GrantToWaiters)
	case *logpb.Command_Revoke:
		return t.sessions.revokeGrant(act.Revoke)
	case *logpb.Command_Lapse:
		return t.sessions.lapseGrant(act.Lapse)
	case *logpb.Command_ForgetEnded:
		return t.gameServers.forgetEnded(act.ForgetEnded)
	case *logpb.Command_CountMinute:
		return t.gameServers.countMinute()
	case *logpb.Command_SetNode:
		return t.nodes.setNode(act.SetNode)
	case *logpb.Command_RemoveNode:
		return t.nodes.removeNode(act.RemoveNode)
	case *logpb.Command_RaiseLevel:
		return t.cluster.raiseLevel(act.RaiseLevel)
	case *logpb.Command_CompareRange:
		return t.comparison.compareRange(act.CompareRange)
	case *logpb.Command_SuspectLeader:
		return t.cluster.suspectLeader(act.SuspectLeader)
	case *logpb.Command_DropDue:
		return t.records.dropDue(act.DropDue)
	case *logpb.Command_RaiseAlarm:
		return t.alarms.raiseAlarm(act.RaiseAlarm)
	}
	_, settling := c.Act.(*logpb.Command_Settle)
	done, ok := t.answers.admitRequest(c.Request, settling)
	if !ok {
		return done
	}
	done = t.runRequest(c)
	done.Index = t.index
	if done.Code != PartsMissing { // nothing was done: the same number may come again with its parts
		t.answers.keepAnswer(c.Request, done)
	}
	return done
}

func (t *transaction) runRequest(c *Command) Result {
	server := lock.Incarnation(c.Request.Incarnation)
	switch act := c.Act.(type) {
	case *logpb.Command_EndServer:
		t.gameServers.endIncarnation(server, lock.Goodbye, c.Request.Settled == c.Request.Number-1)
		return Result{}
	case *logpb.Command_Settle:
		return Result{Code: GivenUp}
	case *logpb.Command_StartSession:
		return t.sessions.startSession(server, act.StartSession)
	case *logpb.Command_Cancel:
		return t.sessions.cancelWait(server, act.Cancel)
	case *logpb.Command_Reclaim:
		return t.sessions.reclaimGrants(server, act.Reclaim)
	case *logpb.Command_Save:
		return t.records.saveProfile(c.Request, act.Save)
	case *logpb.Command_Release:
		return t.sessions.releaseGrant(server, act.Release)
	case *logpb.Command_Send:
		return t.messages.sendMessage(server, act.Send)
	case *logpb.Command_ClearMessage:
		return t.messages.clearMessage(act.ClearMessage)
	case *logpb.Command_Set:
		return t.records.setProfile(c.Request, act.Set)
	case *logpb.Command_Remove:
		return t.records.removeProfile(server, act.Remove)
	case *logpb.Command_SetPolicy:
		return t.policies.setPolicy(server, act.SetPolicy)
	case *logpb.Command_SetTimingClass:
		return t.cluster.setTimingClass(server, act.SetTimingClass)
	case *logpb.Command_ReleaseByOperator:
		return t.sessions.releaseByOperator(server, act.ReleaseByOperator)
	case *logpb.Command_ClearAlarm:
		return t.alarms.clearAlarm(server, act.ClearAlarm)
	case *logpb.Command_ExpectNode:
		return t.nodes.expectNodeAt(server, act.ExpectNode)
	}
	return Result{Code: Invalid}
}
