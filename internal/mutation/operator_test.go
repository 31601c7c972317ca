package mutation

var operatorMutations = []mutation{
	{
		name:   "a cluster that was stopped raises the clock alarm",
		guards: "rule 4",
		edits: []edit{{
			"cluster", "(*calendar).startCalendar",
			"c.jump, c.jumpFrom, c.clocksSet = gap, logMS, gap-idle > calendarMinJump",
			"c.jump, c.jumpFrom, c.clocksSet = gap, logMS, true",
		}},
		pkg: "cluster", test: "TestAWeekDownForgetsNothing",
	},
	{
		name:   "a set overwrites a save made while its data was written",
		guards: "rule 1",
		edits: []edit{{
			"cmd/profilenode", "(*setOptions).completeRequest",
			"case profile.GetExists():",
			"case profile.GetExists() && profile.GetRevision() == 0:",
		}},
		pkg: "cmd/profilenode", test: "TestSetNeverOverwritesUnseen",
	},
	{
		name:   "an operator's command calls a lost change refused",
		guards: "I11",
		edits: []edit{{
			"cmd/profilenode", "classifyByFate",
			"if fate == wire.MayHaveHappened {",
			"if fate > wire.Refused {",
		}},
		pkg: "cmd/profilenode", test: "TestUnsureIsSaid",
	},
	{
		name:   "a released profile is granted before its owner knows",
		guards: "I8",
		edits: []edit{{
			"fsm", "(*sessionCommands).releaseByOperator",
			"grant, out = old.Revoke(old.Token, lock.ReleasedByOperator, t.isAlive)",
			"grant, out = old.Release(old.Owner, old.Token, t.token, t.isAlive)",
		}},
		pkg: "client/clienttest", test: "TestAnOperatorTakesAProfile",
	},
	{
		name:   "a release by an operator ends any later owner's session",
		guards: "rule 1",
		edits: []edit{{
			"fsm", "(*sessionCommands).releaseByOperator",
			"if old.Token != lock.Token(c.Token) {",
			"if c.Token == 0 {",
		}},
		pkg: "fsm", test: "TestStories",
	},
	{
		name:   "audits are kept for ever",
		guards: "rule 7",
		edits: []edit{{
			"fsm", "(*auditTable).addAudit",
			"if kept.next-kept.oldest > MaxAudits {",
			"if kept.next-kept.oldest > 100*MaxAudits {",
		}},
		pkg: "fsm", test: "TestAuditsAreBounded",
	},
}
