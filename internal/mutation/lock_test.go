package mutation

var lockMutations = []mutation{
	{
		name:   "a profile that another game server had meanwhile is reclaimed",
		guards: "liveness: reclaim",
		edits: []edit{{
			"lock", "Grant.Reclaim",
			"if !g.Orphan || g.Token != token {",
			"if !g.Orphan && g.Owner != 0 {",
		}},
		pkg: "fsm", test: "TestStories",
	},
	{
		name:   "a save is taken under a fenced token",
		guards: "I3",
		edits: []edit{{
			"lock", "Grant.MayWrite",
			"if g.Owner != server || g.Token != token || g.Revoked {",
			"if g.Owner != server {",
		}},
		pkg: "lock", test: "TestMayWrite",
	},
	{
		name:   "a released profile is reclaimed",
		guards: "I1",
		edits: []edit{{
			"lock", "Grant.Inherit",
			"g.Orphan = g.Orphan || g.Owner != 0 && !g.Revoked",
			"g.Orphan = true",
		}},
		pkg: "lock", test: "TestLockAgainstItsTwin",
	},
	{
		name:   "a steal is granted at once",
		guards: "I8",
		edits: []edit{{
			"lock", "Grant.Start",
			"revoked := !g.Revoked",
			`if when == Steal {
	g.Owner, g.Token, g.Ticket, g.Revoked = server, at, at, false
	return g, Outcome{Granted: true}
}
revoked := !g.Revoked`,
		}},
		pkg: "lock", test: "TestGrant",
	},
	{
		name:   "a timing class leaves no room for a tick",
		guards: "liveness: renewals",
		edits: []edit{{
			"lock", "Timing.Validate",
			"least := t.Doubt + t.Doubt/5 + MaxTick",
			"least := t.Doubt + t.Doubt/5",
		}},
		pkg: "lock", test: "TestTimingValidate",
	},
}
