package mutation

var clientMutations = []mutation{
	{
		name:   "a profile is reclaimed while its last save is under way",
		guards: "I4",
		edits: []edit{{
			"client", "(*sessionGrant).reclaimGrant",
			`case s.turn <- struct{}{}:
	defer s.turn.giveBack()`,
			"default:",
		}},
		pkg: "client", test: "TestASaveWhoseAnswerWasLostIsKnownBeforeTheReclaim",
	},
	{
		name:   "doubt counts from the time of an answer",
		guards: "I8",
		edits: []edit{{
			"client", "(*leaseKeeper).handleRenewed",
			"l.lease.confirmUntil(left)",
			"l.lease.confirmUntil(left.Add(c.config.hooks.Now().Sub(left)))",
		}},
		pkg: "client", test: "TestDoubtCountsFromTheSendTime",
	},
	{
		name:   "doubt counts by the monotonic clock alone",
		guards: "I8",
		edits: []edit{{
			"client", "(*leaseState).isInDoubt",
			"max(now.Sub(s.confirmed), now.Round(0).Sub(s.confirmed.Round(0)))",
			"now.Sub(s.confirmed)",
		}},
		pkg: "client", test: "TestStoppedProcessIsInDoubtAtTheFirstLook",
	},
	{
		name:   "an answer that is not confirmed renews",
		guards: "I8",
		edits: []edit{{
			"client", "(*leaseKeeper).handleRenewed",
			`if !confirmed {
	return
}`,
			"",
		}},
		pkg: "client", test: "TestUnconfirmedAnswersDoNotRenew",
	},
	{
		name:   "the limit for doubt ends a session without one more try",
		guards: "I10",
		edits: []edit{{
			"client", "(*leaseState).doubtExceeds",
			" && s.failed.Sub(s.confirmed) >= limit",
			"",
		}},
		pkg: "client", test: "TestLimitNeedsOneMoreTry",
	},
	{
		name:   "a session that the leader's list lacks is over",
		guards: "liveness: registration",
		edits: []edit{{
			"client", "(*leaseKeeper).compareGrants",
			"s.grant.verifyGrant()",
			`s.loseSession(overError("keep", s.ref, nil))`,
		}},
		pkg: "client", test: "TestAnUnlistedSessionThatIsOwnedGoesOn",
	},
	{
		name:   "a session begins when the client is closing",
		guards: "client: closing",
		edits: []edit{{
			"client", "(*session).beginWith",
			"if s.client.life.isClosed() {",
			"if s.client.life.isClosed() && s.state.hasBegun() {",
		}},
		pkg: "client", test: "TestASessionThatIsLoadingWhenCloseBeginsIsRefused",
	},
	{
		name:   "data that a panicking handler left half changed is saved",
		guards: "client: panics",
		edits: []edit{{
			"client", "(*session).endByPanic",
			`if !s.concludeSession(gamePanicked, EndPanicked, why) {
	return
}`,
			"",
		}},
		pkg: "client", test: "TestAPanicEndsAtMostItsSession",
	},
	{
		name:   "a message handler's panic ends the process",
		guards: "client: panics",
		edits: []edit{{
			"client", "(*inbox).offerMessage",
			`if ok {
	return
}
value := recover()`,
			`if true {
	return
}
value := recover()`,
		}},
		pkg: "client", test: "TestPanicInAMessageHandlerEndsOneSession",
	},
	{
		name:   "a message that its handler wants later is cleared",
		guards: "I5",
		edits: []edit{{
			"client", "(*inbox).deliverMessages",
			"if answer == AnswerDone {",
			"if answer != AnswerNotMine {",
		}},
		pkg: "client", test: "TestMessageForLaterIsThereForTheNextOwner",
	},
	{
		name:   "a session ends after half its limit for doubt",
		guards: "I10",
		edits: []edit{{
			"client", "(*leaseKeeper).watchDoubt",
			"l.lease.doubtExceeds(c.config.DoubtLimit)",
			"l.lease.doubtExceeds(c.config.DoubtLimit/2)",
		}},
		pkg: "internal/sim", test: "TestWithoutAQuorumNoSessionEnds",
	},
	{
		name:   "a message's panic is counted twice",
		guards: "I5",
		edits: []edit{{
			"fsm", "(*messageTable).countPanics",
			"m.Panics, m.PanicText = m.Panics+1, p.GetText()",
			"m.Panics, m.PanicText = m.Panics+2, p.GetText()",
		}},
		pkg: "internal/sim", test: "TestTheReorderingProxy",
	},
	{
		name:   "an owner is in doubt only after twice the time",
		guards: "I8",
		edits: []edit{{
			"lock", "Timing.InDoubt",
			"return passed >= t.Doubt }",
			"return passed >= 2*t.Doubt }",
		}},
		pkg: "internal/sim", test: "TestTheObserver",
	},
	{
		name:   "Close waits without bound for handlers",
		guards: "client: closing",
		edits: []edit{{
			"client", "(*Client).waitForBackground",
			"context.WithTimeout(ctx, c.config.CloseTimeout)",
			"context.WithCancel(context.WithoutCancel(ctx))",
		}},
		pkg: "client", test: "TestCloseDoesNotWaitForCodeThatNeverReturns",
	},
	{
		name:   "Close does not wait for handlers at all",
		guards: "client: closing",
		edits: []edit{{
			"client", "(*Client).waitForBackground",
			"if !own {",
			"if false && !own {",
		}},
		pkg: "client", test: "TestCloseWaitsForASlowHandler",
	},
	{
		name:   "a session is reclaimed in a later epoch",
		guards: "rule 2a",
		edits: []edit{{
			"client", "(*sessionGrant).reclaimGrant",
			"if old.of.epoch != l.of.epoch {",
			"if false {",
		}},
		pkg: "client", test: "TestALaterEpochEndsTheSessionsOfAnEndedIncarnation",
	},
	{
		name:   "a last save of Close runs no handler",
		guards: "client: closing",
		edits: []edit{{
			"client", "(*saveQueue).encodeForSave",
			`if !w.kept {
	if over`,
			`if !w.kept && w.reason != LastSaveShutdown {
	if over`,
		}},
		pkg: "client", test: "TestCloseEndsEverything",
	},
}
