package planted

var lockFaults = []fault{
	{
		name:  "a save is not fenced",
		edits: []edit{{"lock/lock.go", "if g.Owner != server || g.Token != token || g.Revoked {", "if g.Owner != server {"}},
		pkg:   "lock", test: "TestMayWrite",
	},
	{
		name:  "what was released is reclaimed",
		edits: []edit{{"lock/lock.go", "g.Orphan = g.Orphan || g.Owner != 0 && !g.Revoked", "g.Orphan = true"}},
		pkg:   "lock", test: "TestLockAgainstItsTwin",
	},
	{
		name:  "what was revoked is reclaimed",
		edits: []edit{{"lock/lock.go", "g.Orphan = g.Orphan || g.Owner != 0 && !g.Revoked", "g.Orphan = g.Orphan || g.Owner != 0"}},
		pkg:   "fsm", test: "TestStories",
	},
	{
		name:  "what somebody had for a moment is reclaimed",
		edits: []edit{{"lock/lock.go", "if !g.Orphan || g.Token != token {", "if !g.Orphan && g.Owner != 0 {"}},
		pkg:   "fsm", test: "TestStories",
	},
	{
		name:  "a profile is reclaimed at any revision",
		edits: []edit{{"fsm/reclaim.go", " && t.readRecord(claim.Store, claim.Key).Revision == claim.Revision", ""}},
		pkg:   "fsm", test: "TestStories",
	},
	{
		name:  "a profile is claimed while its last save is under way",
		edits: []edit{{"client/reclaim.go", "\tcase s.turn <- struct{}{}:\n\t\tdefer s.endStep()\n", "\tdefault:\n"}},
		pkg:   "client", test: "TestASaveWhoseAnswerWasLostIsKnownBeforeTheReclaim",
	},
	{
		name:  "a stream without answers is ended at once",
		edits: []edit{{"client/renewals.go", "\t\t\t\treturn heard, true, nil\n", "\t\t\t\treturn heard, false, nil\n"}},
		pkg:   "client", test: "TestASlowLeaderSeesNoStreamEnd",
	},
	{
		name:  "a second false verdict is forgotten",
		edits: []edit{{"client/reclaim.go", "if to.mistaken && !slices.Contains(c.past, to) {", "if to == nil {"}},
		pkg:   "client", test: "TestVerdictAfterVerdict",
	},
	{
		name:  "a newcomer overtakes the queue",
		edits: []edit{{"fsm/grant.go", "grant, out := old.Inherit(t.token, t.isAlive)", "grant, out := old.Grant, lock.Outcome{}"}},
		pkg:   "fsm", test: "TestStories",
	},
}
