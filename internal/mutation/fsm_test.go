package mutation

var fsmMutations = []mutation{
	{
		name:   "a profile is reclaimed at any revision",
		guards: "liveness: reclaim",
		edits: []edit{{
			"fsm", "(*sessionCommands).reclaimGrants",
			" && t.readRecord(claim.Store, claim.Key).Revision == claim.Revision",
			"",
		}},
		pkg: "fsm", test: "TestStories",
	},
	{
		name:   "a newcomer overtakes the queue",
		guards: "I1",
		edits: []edit{{
			"fsm", "(*grantTable).readGrantPassedOn",
			"grant, out := old.Inherit(t.token, t.isAlive)",
			"grant, out := old.Grant, lock.Outcome{}",
		}},
		pkg: "fsm", test: "TestStories",
	},
	{
		name:   "any registration may replace an incarnation",
		guards: "rule 2a",
		edits: []edit{{
			"fsm", "(*tableReader).replacedServer",
			" && lock.Registration(s.Nonce) == c.ReplacedRegistration",
			"",
		}},
		pkg: "fsm", test: "TestStories",
	},
	{
		name:   "a build reads past a level that it does not know",
		guards: "rule 6",
		edits: []edit{{
			"fsm", "entryLevel",
			"level = max(level, c.GetRaiseLevel().GetLevel(), c.GetFoundCluster().GetLevel())",
			"level = max(level, c.GetFoundCluster().GetLevel())",
		}},
		pkg: "fsm", test: "TestAnOlderBuildStopsWhereTheLevelRises",
	},
	{
		name:   "another process' number is taken for a clone's",
		guards: "rule 2f",
		edits: []edit{{
			"fsm", "(*answerTable).admitRequest",
			"if known && q.Registration != lock.Registration(s.Nonce) {",
			"if a, ok := t.readAnswer(id, q.Number); known && q.Registration != lock.Registration(s.Nonce) && (!ok || a.hash == q.Hash) {",
		}},
		pkg: "fsm", test: "TestStories",
	},
	{
		name:   "a part is kept for any registration",
		guards: "rule 2a",
		edits: []edit{{
			"fsm", "(*answerTable).putPart",
			"case known && q.Registration != lock.Registration(s.Nonce):",
			"case known && q.Registration == 1:",
		}},
		pkg: "fsm", test: "TestStories",
	},
	{
		name:   "a set at any revision is taken for one of an unsaved profile",
		guards: "rule 1",
		edits: []edit{{
			"fsm", "(*recordTable).checkUnowned",
			"if !c.GetAnyRevision() && c.GetExpected() != old.Revision {",
			"if c.GetExpected() != old.Revision {",
		}},
		pkg: "fsm", test: "TestStories",
	},
	{
		name:   "an expiry ignores a later command of its incarnation",
		guards: "rule 5",
		edits: []edit{{
			"fsm", "(*gameServerTable).expireServers",
			"if t.isAlive(id) && t.readActivity(id).Last == lock.Token(v.Last) {",
			"if t.isAlive(id) {",
		}},
		pkg: "fsm", test: "TestStories",
	},
	{
		name:   "an expiry of another term counts",
		guards: "rule 5",
		edits: []edit{{
			"fsm", "(*gameServerTable).expireServers",
			"c.Term != t.term",
			"c.Term > t.term",
		}},
		pkg: "fsm", test: "TestStories",
	},
	{
		name:   "a registration is repeated for a nonce that is known",
		guards: "liveness: registration",
		edits: []edit{{
			"fsm", "(*gameServerTable).registerServer",
			"if row, ok := t.getRow(nonce); ok {",
			"if row, ok := t.getRow(nonce); ok && len(row) == 0 {",
		}},
		pkg: "fsm", test: "TestStories",
	},
	{
		name:   "a registration ends the living incarnation of its name",
		guards: "liveness: registration",
		edits: []edit{{
			"fsm", "(*gameServerTable).registerServer",
			"return Result{Code: NameHeld, Owner: holder, Limit: uint64(held.Class.Lease.Milliseconds())}",
			`_ = held
t.endIncarnation(holder, lock.Goodbye)`,
		}},
		pkg: "fsm", test: "TestStories",
	},
	{
		name:   "a panic is counted under a fenced token",
		guards: "I3",
		edits: []edit{{
			"fsm", "(*sessionCommands).releaseGrant",
			`if out.Refusal != lock.None {
	return Result{Code: codeOfRefusal(out.Refusal), Token: old.Token}
}
t.messages.countPanics(c.Store, c.Key, c.Panics)`,
			`t.messages.countPanics(c.Store, c.Key, c.Panics)
if out.Refusal != lock.None {
	return Result{Code: codeOfRefusal(out.Refusal), Token: old.Token}
}`,
		}},
		pkg: "fsm", test: "TestMachineAgainstItsTwin",
	},
	{
		name:   "a step of a walk is not bounded by the waiters",
		guards: "rule 7",
		edits: []edit{{
			"fsm", "(*sessionCommands).grantToWaiters",
			"if waiters >= walkWaiters {",
			"if waiters >= walkWaiters*1000 {",
		}},
		pkg: "fsm", test: "TestNoCommandIsTooHeavy/a_step_of_a_walk_where_many_wait",
	},
	{
		name:   "a retry is executed again",
		guards: "rule 2b",
		edits: []edit{{
			"fsm", "(*answerTable).admitRequest",
			"if a, ok := t.readAnswer(id, q.Number); ok {",
			"if a, ok := t.readAnswer(id, q.Number); ok && a.hash != q.Hash {",
		}},
		pkg: "fsm", test: "TestStories",
	},
	{
		name:   "a save raises the revision by two",
		guards: "I7",
		edits: []edit{{
			"fsm", "(*recordTable).nextRevision",
			"old.Revision+1, d.Codec",
			"old.Revision+2, d.Codec",
		}},
		pkg: "fsm", test: "TestStories",
	},
	{
		name:   "the digest leaves out the writes of a command",
		guards: "rule 8",
		edits: []edit{{
			"fsm", "(*transaction).applyEntry",
			"t.position.foldDigest(t.token, t.writes.Sum64())",
			"t.position.foldDigest(t.token, 0)",
		}},
		pkg: "fsm", test: "TestDigestDiffers",
	},
}
