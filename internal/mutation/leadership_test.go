package mutation

var leadershipMutations = []mutation{
	{
		name:   "a save is acknowledged once the leader has written it",
		guards: "I2",
		edits: []edit{{
			"cluster", "(*proposeQueue).sendEntry",
			"future := n.raftIfRunning().Apply(entry, leadershipWait)",
			`before := n.raftIfRunning().LastIndex()
future := n.raftIfRunning().Apply(entry, leadershipWait)
for until := time.Now().Add(leadershipWait); n.raftIfRunning().LastIndex() == before && time.Now().Before(until); {
	time.Sleep(time.Millisecond)
}
for _, p := range batch {
	if c := p.command.GetSave(); c != nil {
		p.answer <- proposalResult{result: fsm.Result{Code: fsm.OK, Revision: c.GetBase() + 1}}
	} else if c := p.command.GetSet(); c != nil {
		p.answer <- proposalResult{result: fsm.Result{Code: fsm.OK, Revision: c.GetExpected() + 1}}
	}
}`,
		}},
		pkg: "cluster", test: "TestNothingIsAcknowledgedBeforeAMajorityHasIt",
	},
	{
		name:   "raft verifies the leader and old answers count",
		guards: "I8",
		edits: []edit{{
			"cluster", "(*leadershipConfirmer).holdRound",
			"r := c.leader.node.raftIfRunning()",
			`r := c.leader.node.raftIfRunning()
if c != nil {
	if r.VerifyLeader().Error() != nil {
		return ErrUnconfirmed
	}
	return nil
}`,
		}},
		pkg: "cluster", test: "TestAnswersOnTheirWayConfirmNothing",
	},
	{
		name:   "a learner's answer counts in a confirmation round",
		guards: "I8",
		edits: []edit{{
			"cluster", "(*leadershipConfirmer).holdRound",
			"case s.Suffrage != raft.Voter:",
			"case s.Suffrage == raft.Staging:",
		}},
		pkg: "cluster", test: "TestALearnerConfirmsNothing",
	},
	{
		name:   "a later request joins the confirmation round under way",
		guards: "I8",
		edits: []edit{{
			"cluster", "(*leadershipConfirmer).runRounds",
			`c.nextRound = &confirmationRound{done: make(chan struct{})}
c.mu.Unlock()
began := time.Now()
r.err = c.holdRound()`,
			`c.mu.Unlock()
began := time.Now()
r.err = c.holdRound()
c.mu.Lock()
c.nextRound = &confirmationRound{done: make(chan struct{})}
c.mu.Unlock()`,
		}},
		pkg: "cluster", test: "TestARoundUnderWayConfirmsNothingForLaterRequests",
	},
	{
		name:   "a wiped voter takes up its old id",
		guards: "I2",
		edits: []edit{{
			"cluster", "openFolder",
			"return openMemoryFolder(c.FS)",
			`f, err := openMemoryFolder(c.FS)
if err == nil && f.identity.Cluster == "" {
	f.identity.ID = c.Bind
}
return f, err`,
		}},
		pkg: "cluster", test: "TestAWipedVoterElectsNobodyInAnyOrder",
	},
	{
		name:   "the level rises past a voter that does not answer",
		guards: "rule 6",
		edits: []edit{{
			"cluster", "(*leaderState).raiseLevel",
			`if s.Suffrage == raft.Voter {
	level =`,
			`if _, ok := answers[string(s.ID)]; ok && s.Suffrage == raft.Voter {
	level =`,
		}},
		pkg: "cluster", test: "TestTheLevelWaitsForAVoterThatDoesNotAnswer",
	},
	{
		name:   "a node renews without a confirmation round",
		guards: "I8",
		edits: []edit{{
			"cluster", "(*Node).confirmRenewal",
			`if err := l.confirmer.confirmSoon(ctx); err != nil {
	return 0, err
}`,
			"",
		}},
		pkg: "cluster", test: "TestACutOffLeaderRenewsNobody",
	},
}
