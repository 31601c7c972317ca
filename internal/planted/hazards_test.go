package planted

// What several faults change alike.
var (
	verify       = edit{"cluster/confirm_leadership.go", "func (c *leadershipConfirmer) holdRound() error {\n\tr := c.leader.node.raftIfRunning()\n", "func (c *leadershipConfirmer) holdRound() error {\n\tr := c.leader.node.raftIfRunning()\n\tif c != nil {\n\t\tif r.VerifyLeader().Error() != nil {\n\t\t\treturn ErrUnconfirmed\n\t\t}\n\t\treturn nil\n\t}\n"}
	anyEmptyNode = edit{
		"cluster/bootstrap.go", "if h.Member && slices.ContainsFunc(h.Members, func(p Peer) bool { return p.ID == n.ID() }) {", "if h.Member {",
	}
	anyTarget = edit{"cluster/transport.go", `if o.target != "" && o.target != t.id {`, `if o.target == "nobody" {`}
)

// answerAtOnce answers a batch of saves that is only on its way.
const answerAtOnce = `	for _, p := range batch {
		if c := p.command.GetSave(); c != nil {
			p.answer <- proposalResult{result: fsm.Result{Code: fsm.OK, Revision: c.GetBase() + 1}}
		} else if c := p.command.GetSet(); c != nil {
			p.answer <- proposalResult{result: fsm.Result{Code: fsm.OK, Revision: c.GetExpected() + 1}}
		}
	}
`

// The naive ways that docs/hazards.md tells of.
var hazardFaults = []fault{
	{
		name: "a save is acknowledged before it is committed",
		edits: []edit{{"cluster/propose.go", "\tfuture := n.raftIfRunning().Apply(entry, leadershipWait)\n", `	future := n.raftIfRunning().Apply(entry, leadershipWait)
` + answerAtOnce}},
		pkg: "cluster", test: "TestNothingIsAcknowledgedBeforeAMajorityHasIt",
	},
	{
		name: "a save is acknowledged once the leader has written it",
		edits: []edit{{"cluster/propose.go", "\tfuture := n.raftIfRunning().Apply(entry, leadershipWait)\n", `	before := n.raftIfRunning().LastIndex()
	future := n.raftIfRunning().Apply(entry, leadershipWait)
	for until := time.Now().Add(leadershipWait); n.raftIfRunning().LastIndex() == before && time.Now().Before(until); {
		time.Sleep(time.Millisecond)
	}
` + answerAtOnce}},
		pkg: "cluster", test: "TestNothingIsAcknowledgedBeforeAMajorityHasIt",
	},
	{
		name:  "a listed snapshot counts as installed",
		edits: []edit{{"cluster/node.go", "\tsettings.ShutdownOnRemove = false\n", "\tsettings.ShutdownOnRemove = false\n\tsettings.NoSnapshotRestoreOnStart = true\n"}},
		pkg:   "cluster", test: "TestASnapshotThatWasListedAndNotInstalledIsInstalledAtTheStart",
	},
	{
		name: "raft verifies the leader and old answers count", edits: []edit{verify},
		pkg: "cluster", test: "TestAnswersOnTheirWayProveNothing",
	},
	{
		name: "raft verifies the leader and learners count", edits: []edit{verify},
		pkg: "cluster", test: "TestALearnerProvesNothing",
	},
	{
		name:  "a learner is counted",
		edits: []edit{{"cluster/confirm_leadership.go", "\t\tcase s.Suffrage != raft.Voter:\n", "\t\tcase s.Suffrage == raft.Staging:\n"}},
		pkg:   "cluster", test: "TestALearnerProvesNothing",
	},
	{
		name:  "whoever comes later joins the round under way",
		edits: []edit{{"cluster/confirm_leadership.go", "\t\tc.nextRound = &confirmationRound{done: make(chan struct{})}\n\t\tc.mu.Unlock()\n\t\tbegan := time.Now()\n\t\tr.err = c.holdRound()\n", "\t\tc.mu.Unlock()\n\t\tbegan := time.Now()\n\t\tr.err = c.holdRound()\n\t\tc.mu.Lock()\n\t\tc.nextRound = &confirmationRound{done: make(chan struct{})}\n\t\tc.mu.Unlock()\n"}},
		pkg:   "cluster", test: "TestARoundUnderWayProvesNothingToWhoComesLater",
	},
	{
		name:  "an answer of a later term counts",
		edits: []edit{{"cluster/confirm_leadership.go", "if v.err == nil && v.term == c.leader.term {", "if v.err == nil {"}},
		pkg:   "cluster", test: "TestALaterTermProvesNothing",
	},
	{
		name:  "the state is read and then the term",
		edits: []edit{{"cluster/confirm_leadership.go", "\tl, err := n.awaitLeaderState(ctx)\n", "\tif r := n.raftIfRunning(); r != nil {\n\t\tif r.State() != raft.Leader {\n\t\t\treturn 0, n.notLeader()\n\t\t}\n\t\ttime.Sleep(300 * time.Millisecond)\n\t\tterm, same := r.CurrentTerm(), 0\n\t\tfor _, s := range r.GetConfiguration().Configuration().Servers {\n\t\t\tlimited, cancel := context.WithTimeout(ctx, roundLimit)\n\t\t\ta := n.transport.asker(hostPort(s.Address), string(s.ID))\n\t\t\tif v, err := a.askVoice(limited, 1); err == nil && v.term == term {\n\t\t\t\tsame++\n\t\t\t}\n\t\t\ta.close()\n\t\t\tcancel()\n\t\t}\n\t\tif same >= 2 {\n\t\t\treturn term, nil\n\t\t}\n\t\treturn 0, ErrUnproven\n\t}\n\tl, err := n.awaitLeaderState(ctx)\n"}},
		pkg:   "cluster", test: "TestALeadThatEndsInMidProofProvesNothing",
	},
	{
		name:  "a read waits for the commit index",
		edits: []edit{{"cluster/confirm_leadership.go", "\treturn l.term, nil\n", "\treturn l.term, n.WaitApplied(ctx, n.raftIfRunning().CommitIndex())\n"}},
		pkg:   "cluster", test: "TestAReadAfterAChangeOfMembersWaitsForNoCommand",
	},
	{
		name:  "a wiped voter takes up its old id",
		edits: []edit{{"cluster/folder.go", "\t\treturn openMemoryFolder(c.FS)\n", "\t\tf, err := openMemoryFolder(c.FS)\n\t\tif err == nil && f.who.Cluster == \"\" {\n\t\t\tf.who.ID = c.Bind\n\t\t}\n\t\treturn f, err\n"}},
		pkg:   "cluster", test: "TestAWipedVoterElectsNobodyInAnyOrder",
	},
	{
		name: "an empty node answers for whoever was at its address", edits: []edit{anyEmptyNode, anyTarget},
		pkg: "cluster", test: "TestAWipedVoterElectsNobodyInAnyOrder",
	},
	{
		name:  "a copy of a folder runs beside the first",
		edits: []edit{{"cluster/moved_address.go", "err != nil || h.ID != id || h.ProcessID == processID {", "err != nil || h.ID != id || h.ProcessID != \"\" {"}},
		pkg:   "cluster", test: "TestACopyOfARunningNodesFolderIsRefused",
	},
	{
		name:  "a moved member joins whichever cluster answers",
		edits: []edit{{"cluster/members.go", `q.Cluster != "" && q.Cluster != ours {`, `q.Cluster == "nobody" && q.Cluster != ours {`}},
		pkg:   "cluster", test: "TestAMovedMemberOfAnotherClusterIsNotTakenIn",
	},
	{
		name:  "a log without its beginning is taken",
		edits: []edit{{"cluster/node.go", "} else if first > 1 {", "} else if first > 1<<60 {"}},
		pkg:   "cluster", test: "TestAFolderThatLostAPart/its_snapshots",
	},
	{
		name:  "a log that forgot is taken",
		edits: []edit{{"cluster/node.go", "\tif position.Index > last {", "\tif position.Index > last+1<<60 {"}},
		pkg:   "cluster", test: "TestANodeRefusesALogThatForgot",
	},
	{
		name:  "a snapshot is taken during the replay",
		edits: []edit{{"cluster/replica.go", "if row := r.tables.positionNow().Index; r.handedIndex < row {", "if row := r.tables.positionNow().Index; r.handedIndex+1<<60 < row {"}},
		pkg:   "cluster", test: "TestSnapshotWaitsForTheReplay",
	},
	{
		name:  "a snapshot beyond its label is listed",
		edits: []edit{{"cluster/snapshot_sink.go", "if k.meta.Row > k.meta.Label.Index {", "if k.meta.Row > k.meta.Label.Index+1<<60 {"}},
		pkg:   "cluster", test: "TestSnapshotBeyondItsLabelIsRefused",
	},
	{
		name:  "a proposal waits for raft for ever",
		edits: []edit{{"cluster/propose.go", "\tcase <-ctx.Done():\n\tcase <-q.leader.node.ctx.Done():\n\t}\n", "\tcase <-ctx.Done():\n\t}\n"}},
		pkg:   "cluster", test: "TestNobodyWaitsForWhatRaftForgets",
	},
	{
		name:  "the node waits for raft for ever",
		edits: []edit{{"cluster/stop.go", "\t\treturn ctx.Err()\n\tcase <-n.ctx.Done():\n\t\treturn errStopping\n", "\t\treturn errStopping\n"}},
		pkg:   "cluster", test: "TestNobodyWaitsForWhatRaftForgets",
	},
	{
		name:  "a stop waits for all of raft's answers",
		edits: []edit{{"cluster/stop.go", "n.pendingFutures.Load() > 0 && time.Now().Before(until); {", "n.pendingFutures.Load() > 0 && !until.IsZero(); {"}},
		pkg:   "cluster", test: "TestAStopWaitsOnlyAWhileForRaftsAnswers",
	},
	{
		name:  "a stop waits for every stream",
		edits: []edit{{"internal/server/server.go", "\tcase <-ctx.Done():\n\t\ts.grpc.Stop()\n\t\t<-drained\n", "\tcase <-drained:\n"}},
		pkg:   "internal/server", test: "TestCloseWithADeafClient",
	},
	{
		name:  "a refused port proves to whom never reached it",
		edits: []edit{{"lock/ground.go", "reached := s.Reached && s.ReachedAgo <= d.ReachFor", "reached := s.ReachedAgo <= d.ReachFor || true"}},
		pkg:   "cluster", test: "TestARefusalProvesNothingToWhomNeverReached",
	},
	{
		name:  "an older snapshot is installed over a longer log",
		edits: []edit{{"cluster/replica.go", "\t\tif last > index {\n", "\t\tif last > index+1<<60 {\n"}},
		pkg:   "cluster", test: "TestAdmission",
	},
	{
		name:  "raft sees an error of the log as an answer",
		edits: []edit{{"cluster/storage.go", "\tif err != nil && !errors.Is(err, raft.ErrLogNotFound) {\n\t\tg.onFault(", "\tif err != nil && errors.Is(err, raft.ErrNotLeader) {\n\t\tg.onFault("}},
		pkg:   "cluster", test: "TestABrokenLogStopsTheNode",
	},
	{
		name:  "a checkpoint links without a flush",
		edits: []edit{{"fsm/fsm.go", "\tif err := m.Flush(); err != nil {\n\t\treturn err\n\t}\n\tif err := m.db.Checkpoint", "\tif err := m.db.Checkpoint"}},
		pkg:   "fsm", test: "TestCheckpoint",
	},
	{
		name:  "a log is left as it was under an installed snapshot",
		edits: []edit{{"cluster/storage.go", "\tif base := g.baseEntry.Load(); base != nil && base.index > index {", "\tif index > 0 {\n\t\treturn nil\n\t}\n\tif base := g.baseEntry.Load(); base != nil && base.index > index {"}},
		pkg:   "cluster", test: "TestALogThatStandsOnItsSnapshotGetsOverADivergentTail",
	},
	{
		name:  "a vanished sender is waited for",
		edits: []edit{{"cluster/raft_conn.go", "const progressLimit = 10 * time.Second", "const progressLimit = 150 * time.Second"}},
		pkg:   "cluster", test: "TestASenderThatVanishesInMidSnapshotStopsNoElection",
	},
	{
		name:  "what is left of a broken snapshot is waited for",
		edits: []edit{{"cluster/raft_conn.go", "\tc.readErr = err\n", "\t_ = c.readErr\n"}},
		pkg:   "cluster", test: "TestASenderThatVanishesInMidSnapshotStopsNoElection",
	},
	{
		name:  "entries are of the leader's own level",
		edits: []edit{{"cluster/propose.go", "fsm.Encode(n.tables.positionNow().Level, ", "fsm.Encode(n.config.Level, "}},
		pkg:   "cluster", test: "TestTheLevelRisesWithTheLastVotersBuild",
	},
	{
		name: "the level rises over the head of who does not answer",
		edits: []edit{{
			"cluster/members.go", "\t\tif s.Suffrage == raft.Voter {\n\t\t\tlevel =",
			"\t\tif _, ok := said[string(s.ID)]; ok && s.Suffrage == raft.Voter {\n\t\t\tlevel =",
		}},
		pkg: "cluster", test: "TestTheLevelWaitsForAVoterThatDoesNotAnswer",
	},
	{
		name:  "a raise of the level is read by who cannot follow it",
		edits: []edit{{"fsm/level.go", "level = max(level, c.GetRaise().GetLevel(), c.GetFound().GetLevel())", "level = max(level, c.GetFound().GetLevel())"}},
		pkg:   "fsm", test: "TestAnOlderBuildStopsWhereTheLevelRises",
	},
	{
		name:  "a snapshot of a newer build is tried for ever",
		edits: []edit{{"cluster/replica.go", "if errors.Is(err, errSwapUnclear) || errors.Is(err, fsm.ErrOldBuild) {", "if errors.Is(err, errSwapUnclear) {"}},
		pkg:   "cluster", test: "TestALearnerOfAnOlderBuildNeverVotes/it_gets_a_snapshot",
	},
}
