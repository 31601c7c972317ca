package mutation

var requestMutations = []mutation{
	{
		name:   "any epoch ends an incarnation",
		guards: "rule 2a",
		edits: []edit{{
			"client", "isGreaterEpoch",
			"refusal.Epoch > of.epoch",
			"refusal.Epoch != of.epoch",
		}},
		pkg: "client", test: "TestAWrongSeedsRefusalIsNotTakenForTheRequests",
	},
	{
		name:   "a client that gave up settles nothing",
		guards: "rule 2d",
		edits: []edit{{
			"client", "(*clusterLink).unknownOutcome",
			`if !c.life.startGoroutine(func() { k.settleUntilAnswered(ch, hash, s) }) {
	s.finishSettlement(Outcome{})`,
			"if s.finishSettlement(Outcome{}); c != nil {",
		}},
		pkg: "client", test: "TestALateCopyOfARequestThatWasGivenUpIsNeverExecuted",
	},
	{
		name:   "an unanswered save is told as refused",
		guards: "I11",
		edits: []edit{{
			"client", "(*saveQueue).concludeSave",
			"q.unclear = q.unclear || errors.Is(err, ErrUnknown); err != nil {",
			"q.unclear = false; err != nil {",
		}},
		pkg: "client", test: "TestASaveThatMayHaveHappenedIsNeverCalledRefused",
	},
	{
		name:   "a last save waits behind a save that was only refused",
		guards: "client: last save",
		edits: []edit{{
			"client", "(*saveQueue).sendSave",
			"ch.overtaken = w.overtaken",
			"",
		}},
		pkg: "client", test: "TestALastSaveOvertakesASaveThatWasOnlyRefused",
	},
	{
		name:   "a save that may have happened is overtaken",
		guards: "I4",
		edits: []edit{{
			"client", "(*clusterLink).sendUntilAnswered",
			`if out.IsZero() {
	overtaken = ch.overtaken
}`,
			`overtaken = ch.overtaken
if overtaken != nil && isClosed(overtaken) {
	out = time.Time{}
}`,
		}},
		pkg: "client", test: "TestALastSaveWaitsForASaveThatMayHaveHappened",
	},
	{
		name:   "one profile's unanswered save keeps its number",
		guards: "I14",
		edits: []edit{{
			"client", "(*clusterLink).sendUntilAnswered",
			"time.Since(out) > longOut",
			"false",
		}},
		pkg: "client", test: "TestASaveThatIsNeverAnsweredStopsNoOther",
	},
	{
		name:   "a save keeps its number while it waits for the profile's lock",
		guards: "I14",
		edits: []edit{{
			"client", "(*saveQueue).encodeForSave",
			"locked := s.data.lockUnless(s.doneUnlessKept(), s.ctx.Done())",
			`if l, err := s.takeTurn(s.ctx); err == nil {
	defer s.turn.giveBack()
	n, _ := l.numbers.TakeNumber(s.ctx, nil)
	defer l.numbers.SettleNumber(n)
}
locked := s.data.lockUnless(s.doneUnlessKept(), s.ctx.Done())`,
		}},
		pkg: "client", test: "TestAProfileWhoseLockIsHeldStopsNoOther",
	},
	{
		name:   "a request too large for the wire is tried again for ever",
		guards: "client: local errors",
		edits: []edit{{
			"client", "(*change).checkBeforeSending",
			"if part.limit > 0 && uint64(part.size) > part.limit {",
			"if part.limit == 0 {",
		},
			{
				"internal/wire", "(*Nodes).SendCopy",
				"case a.Refusal == nil && isLocalError(err):",
				"case a.Refusal == nil && err == nil:",
			}},
		pkg: "client", test: "TestWhatCanNeverBeSentIsRefused",
	},
	{
		name:   "a wrong seed's refusal counts as the request's",
		guards: "rule 2c",
		edits: []edit{{
			"internal/wire", "MeaningOf",
			"case profilev1.Reason_REASON_NOT_LEADER, profilev1.Reason_REASON_OTHER_CLUSTER,",
			`case profilev1.Reason_REASON_OTHER_CLUSTER:
	return Meaning{Refused, Never}
case profilev1.Reason_REASON_NOT_LEADER,`,
		}},
		pkg: "client", test: "TestAWrongSeedsRefusalIsNotTakenForTheRequests",
	},
	{
		name:   "a refused copy decides a request that another copy may have done",
		guards: "rule 2c",
		edits: []edit{{
			"internal/wire", "(*Copies).Refuse",
			"case fate == Refused && (r.GetIndex() != 0 || !c.unanswered):",
			"case fate == Refused:",
		}},
		pkg: "client", test: "TestRefusalBesideTheLogIsNotTheFateOfTheRequest",
	},
	{
		name:   "a newer node's reason is told as refused",
		guards: "I11",
		edits: []edit{{
			"internal/wire", "MeaningOf",
			`}
return Meaning{MayHaveHappened, Elsewhere}`,
			`}
return Meaning{Refused, Never}`,
		}},
		pkg: "internal/wire", test: "TestAnUnknownReasonMayHaveHappened",
	},
	{
		name:   "settling tells refused for what happened",
		guards: "I11",
		edits: []edit{{
			"client", "outcomeOf",
			"Outcome{Fate: FateHappened",
			"Outcome{Fate: FateRefused",
		}},
		pkg: "client", test: "TestOutcomeSaysWhatBecameOfAnUnknownRequest",
	},
	{
		name:   "a request is sent though its context had ended",
		guards: "client: local errors",
		edits: []edit{{
			"client", "(*clusterLink).sendUntilAnswered",
			"if ctx.Err() != nil {",
			`if ctx.Err() != nil {
ctx = context.WithoutCancel(ctx)
}
if ctx.Err() != nil {`,
		}},
		pkg: "client", test: "TestAContextThatHasEndedSendsNothing",
	},
}
