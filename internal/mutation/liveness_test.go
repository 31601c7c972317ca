package mutation

var livenessMutations = []mutation{
	{
		name:   "gossip is not asked",
		guards: "liveness: evidence",
		edits: []edit{{
			"cluster/internal/liveness", "(*Detector).openExpiry",
			"signals.GossipDead = d.leadership.SeemsDead(inc)",
			"",
		}},
		pkg: "client/clienttest", test: "TestALostHostIsTakenOverOnEvidence",
	},
	{
		name:   "a leader that confirms no renewal expires game servers all the same",
		guards: "liveness: late ticks",
		edits: []edit{{
			"cluster/internal/liveness", "(*Detector).excuseLateTick",
			`if d.leadership.CheckPrompt() != nil {
	late += d.config.Settings.TickPeriod
}`,
			"",
		}},
		pkg: "cluster", test: "TestALeaderThatRenewsNobodyJudgesNobody",
	},
	{
		name:   "a new leader counts silence before its opening command",
		guards: "liveness: evidence",
		edits: []edit{{
			"cluster/internal/liveness", "(*Detector).checkSilence",
			`if !known {
	d.lastHeard[inc] = now
	continue
}
if heard.Before(d.leadership.OpenedAt()) {
	heard = d.leadership.OpenedAt()
}`,
			`if !known {
	heard = d.leadership.OpenedAt().Add(-time.Minute)
	d.lastHeard[inc] = heard
}`,
		}},
		pkg: "cluster", test: "TestANewLeaderJudgesNobodyByWhatItDidNotHear",
	},
	{
		name:   "a tick that came late counts as silence",
		guards: "liveness: late ticks",
		edits: []edit{{
			"cluster/internal/liveness", "(*Detector).excuseLateTick",
			"late := now.Sub(d.nextTick)",
			"late := time.Duration(0)",
		}},
		pkg: "cluster", test: "TestALateTickCountsAgainstNobody",
	},
	{
		name:   "renewals are answered while an expiry is under way",
		guards: "liveness: renewals",
		edits: []edit{{
			"cluster/internal/liveness", "(*Detector).NoteRenewal",
			`underWay := d.openExpiries[inc]
if underWay == nil {`,
			`underWay := d.openExpiries[inc]
if underWay == nil || inc != 0 {`,
		}},
		pkg: "cluster/internal/liveness", test: "TestAnExpiryOfUnknownOutcomeHoldsRenewalsBack",
	},
	{
		name:   "a revoked owner is not waited for",
		guards: "I8",
		edits: []edit{{
			"cluster/internal/liveness", "(*Detector).checkContested",
			"case g.Revoked && timing.LapseIsDue(passed):",
			"case g.Revoked:",
		}},
		pkg: "cluster", test: "TestAnOwnerThatDoesNotLetGoIsRevokedThenLapsed",
	},
	{
		name:   "the failure detector counts with other times than the owner",
		guards: "liveness: registration",
		edits: []edit{{
			"cluster/internal/liveness", "(*Detector).readLiving",
			"living[s.Incarnation] = s.Class.Timing",
			"living[s.Incarnation] = lock.DefaultTiming()",
		}},
		pkg: "cluster", test: "TestAShortenedClassRobsNobodyWhoRegisteredBefore",
	},
	{
		name:   "gossip alone ends an incarnation",
		guards: "I9",
		edits: []edit{{
			"lock", "Detector.FindGround",
			"case s.Silent >= t.Evidence && (s.GossipDead || s.Replaced || t.isAbandoned(s)):",
			"case s.GossipDead || s.Silent >= t.Evidence && (s.Replaced || t.isAbandoned(s)):",
		}},
		pkg: "client/clienttest", test: "TestACutOfGossipAloneCostsNothing",
	},
	{
		name:   "a replaced incarnation ends at once",
		guards: "I8",
		edits: []edit{{
			"lock", "Detector.FindGround",
			"case s.Silent >= t.Evidence && (s.GossipDead || s.Replaced || t.isAbandoned(s)):",
			"case s.Replaced || s.Silent >= t.Evidence && (s.GossipDead || t.isAbandoned(s)):",
		}},
		pkg: "cluster", test: "TestAReplacedIncarnationKeepsItsProfilesWhileItsProcessMayBelieve",
	},
	{
		name:   "a refused port is proof to a leader that never reached it",
		guards: "liveness: proof",
		edits: []edit{{
			"lock", "Detector.ShowsProcessGone",
			"reached := s.Reached && s.ReachedAgo <= d.ReachFor",
			"reached := s.ReachedAgo <= d.ReachFor || true",
		}},
		pkg: "cluster", test: "TestARefusalProvesNothingToWhomNeverReached",
	},
}
