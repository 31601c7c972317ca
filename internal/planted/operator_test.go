package planted

var operatorFaults = []fault{
	{
		name:  "whose profile was removed is told that it was set",
		edits: []edit{{"fsm/save.go", "t.takeFromOwner(lock.Removed, server,", "t.takeFromOwner(lock.Overwritten, server,"}},
		pkg:   "fsm", test: "TestStories",
	},
	{
		name:  "a release frees whoever owns the profile by then",
		edits: []edit{{"fsm/release_by_operator.go", "if old.Token != lock.Token(c.Token) {\n\t\tdone.Code", "if c.Token == 0 {\n\t\tdone.Code"}},
		pkg:   "fsm", test: "TestStories",
	},
	{
		name:  "who was asked for nobody is never revoked",
		edits: []edit{{"fsm/session.go", "if c.Waited && !old.Wanted() {", "if c.Waited && len(old.Waiters) == 0 {"}},
		pkg:   "cluster", test: "TestAnOwnerThatDoesNotLetGoIsRevokedThenLapsed",
	},
	{
		name:  "a freed profile is granted before its owner knows",
		edits: []edit{{"fsm/release_by_operator.go", "grant, out = old.Revoke(old.Token, lock.Freed, t.isAlive)", "grant, out = old.Release(old.Owner, old.Token, t.token, t.isAlive)"}},
		pkg:   "client/clienttest", test: "TestAnOperatorTakesAProfile",
	},
	{
		name:  "the next owner counts as asked",
		edits: []edit{{"lock/lock.go", "g.Owner, g.Revoked, g.Cause, g.Asked = 0, false, NoCause, false", "g.Owner, g.Revoked, g.Cause = 0, false, NoCause"}},
		pkg:   "lock", test: "TestGrant",
	},
	{
		name:  "an ask that was lost is not told again",
		edits: []edit{{"internal/server/collect_events.go", "case g.Wanted():", "case len(g.Waiters) > 0:"}},
		pkg:   "internal/server", test: "TestFree",
	},
	{
		name:  "audits are kept for ever",
		edits: []edit{{"fsm/audit.go", "if kept.next-kept.oldest > MaxAudits {", "if kept.next-kept.oldest > 100*MaxAudits {"}},
		pkg:   "fsm", test: "TestAuditsAreBounded",
	},
	{
		name:  "a robbery leaves no trace",
		edits: []edit{{"fsm/save.go", "\t\tt.audits.addAudit(kind, by, grant.Owner, Audit{Store: store, Key: key, Cause: cause})\n", "\t\t_, _ = kind, by\n"}},
		pkg:   "fsm", test: "TestMachineAgainstItsTwin",
	},
	{
		name:  "set overwrites what was saved while its data was made",
		edits: []edit{{"cmd/profilenode/set.go", "\tcase profile.GetExists():\n", "\tcase profile.GetExists() && profile.GetRevision() == 0:\n"}},
		pkg:   "cmd/profilenode", test: "TestSetNeverOverwritesUnseen",
	},
	{
		name:  "edit drops what could not be stored",
		edits: []edit{{"cmd/profilenode/edit.go", "\tif err != nil {\n\t\treturn e.errorWithKeptFile(err)\n\t}\n", "\tif err != nil {\n\t\t_ = os.Remove(e.path)\n\t\treturn e.kept(err)\n\t}\n"}},
		pkg:   "cmd/profilenode", test: "TestEdit",
	},
	{
		name:  "a command calls a lost change refused",
		edits: []edit{{"cmd/profilenode/node_answers.go", "\tif fate == wire.MayHaveHappened {\n", "\tif fate > wire.Refused {\n"}},
		pkg:   "cmd/profilenode", test: "TestUnsureIsSaid",
	},
	{
		name:  "a command does not ask what became of its change",
		edits: []edit{{"cmd/profilenode/registered_tool.go", "\t\treturn t.settleLost(ctx, request, err)\n", "\t\treturn err\n"}},
		pkg:   "cmd/profilenode", test: "TestALostAnswerIsSettled",
	},
	{
		name:  "a refused verdict is told as a death",
		edits: []edit{{"cluster/takeover_log.go", "applied := err == nil && ok && !row.Alive && row.Ground == s.ground", "applied := err == nil && ok"}},
		pkg:   "cluster", test: "TestTheLogTellsARefusedVerdict",
	},
	{
		name:  "somebody is paged for a cluster that was down",
		edits: []edit{{"cluster/calendar.go", "c.jump, c.jumpFrom, c.clocksSet = gap, logMS, gap-idle > calendarMinJump", "c.jump, c.jumpFrom, c.clocksSet = gap, logMS, true"}},
		pkg:   "cluster", test: "TestAWeekDownForgetsNothing",
	},
	{
		name:  "a notice counts as an alarm",
		edits: []edit{{"internal/metrics/node.go", "if !alarm.Code.Notice() {", "if !alarm.Code.Notice() || true {"}},
		pkg:   "internal/metrics", test: "TestWhatIsToldIsShown",
	},
	{
		name:  "a node joins that nobody expects",
		edits: []edit{{"cluster/members.go", "if err := n.checkExpected(q.Address); err != nil {", "if err := n.checkExpected(q.Address); err != nil && q.Address == \"\" {"}},
		pkg:   "cluster", test: "TestANodeThatNobodyExpectsDoesNotJoin",
	},
	{
		name:  "a sound cluster is taken for one that was rolled back",
		edits: []edit{{"internal/server/rolled_back.go", "if seen <= last {", "if seen < last {"}},
		pkg:   "internal/server", test: "TestALeaderWhoseTablesAreBehindWasNotRolledBack",
	},
	{
		name:  "renewals do not say what was told",
		edits: []edit{{"client/renewals.go", "\t\tSeen: l.told.highestIndex(),\n", ""}},
		pkg:   "client", test: "TestARolledBackClusterEndsTheGameServersClient",
	},
	{
		name:  "a metric goes undescribed",
		edits: []edit{{"internal/metrics/node.go", `{"level", "Format`, `{"format", "Format`}},
		pkg:   "internal/metrics", test: "TestMetricsAreDescribed",
	},
}
