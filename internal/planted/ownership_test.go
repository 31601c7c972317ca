package planted

// The rules by which nobody is robbed while he believes, and nobody believes who may be robbed.
var ownershipFaults = []fault{
	{
		name: "another process' number looks like a clone's",
		edits: []edit{{
			"fsm/answer.go", "\tif known && q.Registration != lock.Registration(s.Nonce) {\n\t\treturn Result{Code: OtherRegistration}, false",
			"\tif a, ok := t.answer(id, q.Number); known && q.Registration != lock.Registration(s.Nonce) && (!ok || a.hash == q.Hash) {\n\t\treturn Result{Code: OtherRegistration}, false",
		}},
		pkg: "fsm", test: "TestStories",
	},
	{
		name:  "a part is kept for any registration",
		edits: []edit{{"fsm/answer.go", "\tcase known && q.Registration != lock.Registration(s.Nonce):\n", "\tcase known && q.Registration == 1:\n"}},
		pkg:   "fsm", test: "TestStories",
	},
	{
		name: "a renewal is confirmed for any registration",
		edits: []edit{
			{"internal/server/check_copy.go", "if err == nil && ok && lock.Registration(who.Nonce) != registration {", "if err == nil && ok && registration == 1 && lock.Registration(who.Nonce) != 1 {"},
			{"internal/server/renewals.go", "case ok && lock.Registration(who.Nonce) != registration:", "case ok && registration == 0:"},
		},
		pkg: "internal/server", test: "TestAnotherRegistrationHurtsNoIncarnation",
	},
	{
		name:  "a node takes what was meant for another cluster",
		edits: []edit{{"internal/server/check_copy.go", "case binding != lock.Binding(standing.Cluster, standing.Epoch):", "case false:"}},
		pkg:   "internal/server", test: "TestAnOldClustersGameServerHurtsNobodyInANewOne",
	},
	{
		name:  "a foreign stream takes the place of the rightful one",
		edits: []edit{{"internal/server/renewals.go", "\tif err := s.checkFirst(stream.Context(), first); err != nil { // before it takes the place of the rightful one's stream\n\t\treturn err\n\t}\n", ""}},
		pkg:   "internal/server", test: "TestAnotherRegistrationHurtsNoIncarnation",
	},
	{
		name:  "unknown fields within a request are left out",
		edits: []edit{{"api/profilev1/fields.go", "\tfor _, field := range messageFields(m.Descriptor()) {\n", "\tfor _, field := range messageFields(m.Descriptor())[:0] {\n"}},
		pkg:   "internal/server", test: "TestUnknownFieldsAreRefusedWithoutEffect",
	},
	{
		name:  "a set at any revision is taken for one of a profile never saved",
		edits: []edit{{"fsm/save.go", "if !c.GetAnyRevision() && c.GetExpected() != old.Revision {", "if c.GetExpected() != old.Revision {"}},
		pkg:   "fsm", test: "TestStories",
	},
	{
		name:  "any revision beside an expected one is not refused",
		edits: []edit{{"fsm/save.go", "|| c.Data == nil || c.AnyRevision && c.Expected != 0 {", "|| c.Data == nil {"}},
		pkg:   "fsm", test: "TestStories",
	},
	{
		name:  "a node forgets that a set is at any revision",
		edits: []edit{{"internal/server/save.go", "AnyRevision: q.GetAnyRevision(), Tags:", "Tags:"}},
		pkg:   "internal/server", test: "TestSetAndRemove",
	},
	{
		name:  "any epoch ends an incarnation",
		edits: []edit{{"client/binding.go", "refusal.Epoch > of.epoch", "refusal.Epoch != of.epoch"}},
		pkg:   "client", test: "TestAWrongSeedsRefusalIsNotTakenForTheRequests",
	},
	{
		name:  "a wrong seed's refusal is the request's",
		edits: []edit{{"internal/wire/reasons.go", "\tcase profilev1.Reason_REASON_NOT_LEADER, profilev1.Reason_REASON_OTHER_CLUSTER,\n", "\tcase profilev1.Reason_REASON_OTHER_CLUSTER:\n\t\treturn Meaning{Refused, Never}\n\tcase profilev1.Reason_REASON_NOT_LEADER,\n"}},
		pkg:   "client", test: "TestAWrongSeedsRefusalIsNotTakenForTheRequests",
	},
	{
		name:  "doubt counts from when an answer came",
		edits: []edit{{"client/renewals.go", "l.lease.confirmUntil(left)", "l.lease.confirmUntil(left.Add(c.config.hooks.Now().Sub(left)))"}},
		pkg:   "client", test: "TestDoubtCountsFromTheSendTime",
	},
	{
		name:  "doubt counts by the monotonic clock alone",
		edits: []edit{{"client/lease_state.go", "max(now.Sub(s.confirmed), now.Round(0).Sub(s.confirmed.Round(0)))", "now.Sub(s.confirmed)"}},
		pkg:   "client", test: "TestStoppedProcessIsInDoubtAtTheFirstLook",
	},
	{
		name:  "an answer without proof renews",
		edits: []edit{{"client/renewals.go", "\tif answer.ProvedTerm == 0 {\n\t\treturn false\n\t}\n", ""}},
		pkg:   "client", test: "TestUnprovenAnswersDoNotRenew",
	},
	{
		name: "any answer renews",
		edits: []edit{{
			"client/send_request.go", "\tif err == nil {\n\t\treturn true, nil, nil\n\t}\n",
			"\tif err == nil {\n\t\tc.mu.Lock()\n\t\tif c.incarnation != nil {\n\t\t\tc.incarnation.lease.confirmUntil(c.config.hooks.Now())\n\t\t}\n\t\tc.mu.Unlock()\n\t\treturn true, nil, nil\n\t}\n",
		}},
		pkg: "client", test: "TestOtherAnswersRenewNothing",
	},
	{
		name:  "the limit for doubt wants no last try",
		edits: []edit{{"client/lease_state.go", " && s.failed.Sub(s.confirmed) >= limit", ""}},
		pkg:   "client", test: "TestLimitNeedsOneMoreTry",
	},
	{
		name:  "a node renews without proof of its lead",
		edits: []edit{{"cluster/failure_detector.go", "\tif err := l.confirmer.confirmSoon(ctx); err != nil {\n\t\treturn 0, err\n\t}\n", ""}},
		pkg:   "cluster", test: "TestACutOffLeaderRenewsNobody",
	},
	{
		name:  "a new leader counts what it could not hear",
		edits: []edit{{"cluster/failure_detector.go", "\t\tif !known {\n\t\t\td.lastHeard[inc] = now\n\t\t\tcontinue\n\t\t}\n\t\tif heard.Before(d.leader.openedAt) {\n\t\t\theard = d.leader.openedAt\n\t\t}\n", "\t\tif !known {\n\t\t\theard = d.leader.node.started\n\t\t\td.lastHeard[inc] = heard\n\t\t}\n"}},
		pkg:   "cluster", test: "TestANewLeaderJudgesNobodyByWhatItDidNotHear",
	},
	{
		name:  "a tick that came late counts as silence",
		edits: []edit{{"cluster/failure_detector.go", "\tlate := now.Sub(d.nextTick)\n", "\tlate := time.Duration(0)\n"}},
		pkg:   "cluster", test: "TestALateTickCountsAgainstNobody",
	},
	{
		name:  "renewals pass a verdict under way",
		edits: []edit{{"cluster/failure_detector.go", "\t\tunderWay := d.openExpiries[inc]\n\t\tif underWay == nil {\n", "\t\tunderWay := d.openExpiries[inc]\n\t\tif underWay == nil || inc != 0 {\n"}},
		pkg:   "cluster", test: "TestAVerdictOfUnknownOutcomeHoldsRenewalsBack",
	},
	{
		name:  "a verdict names nothing that it judged",
		edits: []edit{{"fsm/game_server.go", "if t.isAlive(id) && t.readActivity(id).Last == lock.Token(v.Last) {", "if t.isAlive(id) {"}},
		pkg:   "fsm", test: "TestStories",
	},
	{
		name:  "a verdict of another term counts",
		edits: []edit{{"fsm/game_server.go", "\tif c.Term != t.term {\n\t\treturn Result{Code: Superseded}\n\t}\n\tdone :=", "\tif c.Term > t.term {\n\t\treturn Result{Code: Superseded}\n\t}\n\tdone :="}},
		pkg:   "fsm", test: "TestStories",
	},
	{
		name: "what is not in the held set is disowned",
		edits: []edit{
			{"internal/server/renewals.go", "\t\"github.com/profilenode/profilenode/cluster\"\n", "\t\"github.com/profilenode/profilenode/cluster\"\n\t\"github.com/profilenode/profilenode/fsm\"\n"},
			{"internal/server/renewals.go", "\ta, err := s.collectEvents(view, r, term, missed)\n", "\ta, err := s.collectEvents(view, r, term, missed)\n\tif r.GetHeldCount() == 0 {\n\t\tgrants, _ := view.GrantsOf(box.server)\n\t\tfor _, g := range grants {\n\t\t\t_, _ = s.node.Propose(ctx, fsm.NewCommand(nil, &fsm.Revoke{Store: g.Store, Key: g.Key, Token: uint64(g.Token)}))\n\t\t}\n\t}\n"},
		},
		pkg: "internal/server", test: "TestLostEvents",
	},
	{
		name:  "what a list lacks is over",
		edits: []edit{{"client/events.go", "\t\ts.verifyGrant()\n", "\t\ts.lose(overError(\"keep\", s.ref, nil))\n"}},
		pkg:   "client", test: "TestAnUnlistedSessionThatIsOwnedGoesOn",
	},
	{
		name:  "an answer that cannot hold what was revoked renews",
		edits: []edit{{"internal/server/collect_events.go", "\t\t\t\trenewed.ProvedTerm = 0\n", "\t\t\t\t_ = i\n"}},
		pkg:   "internal/server", test: "TestRenewWithoutAStreamTellsAllThatWasRevokedOrConfirmsNothing",
	},
	{
		name:  "a registration has no nonce",
		edits: []edit{{"fsm/game_server.go", "if row, ok := t.getRow(nonce); ok {", "if row, ok := t.getRow(nonce); ok && len(row) == 0 {"}},
		pkg:   "fsm", test: "TestStories",
	},
	{
		name:  "a registration ends whoever lives under its name",
		edits: []edit{{"fsm/game_server.go", "\t\treturn Result{Code: NameHeld, Owner: holder, Limit: uint64(held.Class.Lease.Milliseconds())}\n", "\t\t_ = held\n\t\tt.endIncarnation(holder, lock.Goodbye)\n"}},
		pkg:   "fsm", test: "TestStories",
	},
	{
		name: "a thief is granted at once",
		edits: []edit{{
			"lock/lock.go", "\tg.Waiters = append([]Waiter{waiter}, g.Waiters...)\n\trevoked := !g.Revoked\n",
			"\tif when == Steal {\n\t\tg.Owner, g.Token, g.Ticket, g.Revoked = server, at, at, false\n\t\treturn g, Outcome{Granted: true}\n\t}\n\tg.Waiters = append([]Waiter{waiter}, g.Waiters...)\n\trevoked := !g.Revoked\n",
		}},
		pkg: "lock", test: "TestGrant",
	},
	{
		name:  "a revoked owner is not waited for",
		edits: []edit{{"cluster/failure_detector.go", "case g.Revoked && timing.LapseIsDue(passed):", "case g.Revoked:"}},
		pkg:   "cluster", test: "TestAnOwnerThatDoesNotLetGoIsRevokedThenLapsed",
	},
	{
		name:  "the judge counts with other times than the owner was told",
		edits: []edit{{"cluster/failure_detector.go", "living[s.Incarnation] = s.Class.Timing", "living[s.Incarnation] = lock.DefaultTiming()"}},
		pkg:   "cluster", test: "TestAShortenedClassRobsNobodyWhoRegisteredBefore",
	},
	{
		name:  "any times make a class",
		edits: []edit{{"fsm/timing.go", "if CheckClassName(c.Name) != nil || CheckClass(c) != nil {", "if CheckClassName(c.Name) != nil {"}},
		pkg:   "fsm", test: "TestMachineAgainstItsTwin",
	},
	{
		name:  "a class leaves no room for a tick",
		edits: []edit{{"lock/lease.go", "least := t.Doubt + t.Doubt/5 + MaxTick", "least := t.Doubt + t.Doubt/5"}},
		pkg:   "lock", test: "TestTimingValidate",
	},
	{
		name:  "an answer leaves out what was revoked",
		edits: []edit{{"internal/server/collect_events.go", "\t\tcase g.Revoked:\n\t\t\trevoked = append(revoked, lostEvent(g.Store, g.Key, g.Token, g.Cause))\n", "\t\tcase g.Revoked:\n"}},
		pkg:   "internal/server", test: "TestLostEvents",
	},
	{
		name:  "a client that gave up settles nothing",
		edits: []edit{{"client/send_request.go", "\tif !c.startGoroutine(func() { c.settleUntilAnswered(ch, hash, s) }) {\n\t\ts.finishSettlement(Outcome{})\n", "\tif s.finishSettlement(Outcome{}); true {\n"}},
		pkg:   "client", test: "TestALateCopyOfWhatWasGivenUpIsBurned",
	},
	{
		name:  "a refused copy is the fate of the request",
		edits: []edit{{"internal/wire/reasons.go", "case fate == Refused && (r.GetIndex() != 0 || !c.unanswered):", "case fate == Refused:"}},
		pkg:   "client", test: "TestRefusalBesideTheLogIsNotTheFateOfTheRequest",
	},
	{
		name:  "a reason of a newer node is told as refused",
		edits: []edit{{"internal/wire/reasons.go", "\treturn Meaning{MayHaveHappened, Elsewhere}\n}", "\treturn Meaning{Refused, Never}\n}"}},
		pkg:   "internal/wire", test: "TestAnUnknownReasonMayHaveHappened",
	},
	{
		name:  "a save that nobody answered is told as refused",
		edits: []edit{{"client/save.go", "s.lastSaveUnclear = s.lastSaveUnclear || errors.Is(err, ErrUnknown); err != nil {", "s.lastSaveUnclear = false; err != nil {"}},
		pkg:   "client", test: "TestASaveThatMayHaveHappenedIsNeverCalledRefused",
	},
	{
		name:  "what the last save stores is told as refused",
		edits: []edit{{"client/save.go", "\tcase s.stage == over && s.overReason == nil:", "\tcase s.stage == over && s.overReason == nil && s.lastSaveUnclear:"}},
		pkg:   "client", test: "TestASaveBesideTheLastOneSharesItsFate",
	},
	{
		name:  "an owner believes twice as long",
		edits: []edit{{"lock/lease.go", "return passed >= t.Doubt }", "return passed >= 2*t.Doubt }"}},
		pkg:   "internal/sim", test: "TestTheObserver",
	},
	{
		name:  "a mute owner is robbed at once",
		edits: []edit{{"cluster/failure_detector.go", "case g.Revoked && timing.LapseIsDue(passed):", "case g.Revoked && passed > 0:"}},
		pkg:   "internal/sim", test: "TestTheObserver",
	},
	{
		name:  "who is without a quorum is thrown out",
		edits: []edit{{"client/registration.go", "l.lease.doubtExceeds(c.config.DoubtLimit)", "l.lease.doubtExceeds(c.config.DoubtLimit/2)"}},
		pkg:   "internal/sim", test: "TestWithoutAQuorumNoSessionEnds",
	},
	{
		name:  "a client waits at a follower for the leader",
		edits: []edit{{"client/send_request.go", "\t\tc.nodes.notePassed(addr)\n\t\tc.nodes.noteLeader(refusal.Leader)\n", ""}},
		pkg:   "internal/sim", test: "TestWhoReachesAFollowerIsSentToTheLeader",
	},
	{
		name:  "a last save waits behind a save that was only refused",
		edits: []edit{{"client/save.go", "\t\tch.overtaken = w.overtaken\n", ""}},
		pkg:   "client", test: "TestALastSaveOvertakesASaveThatWasOnlyRefused",
	},
	{
		name:  "a save that may have happened is overtaken",
		edits: []edit{{"client/send_request.go", "\t\tif out.IsZero() {\n\t\t\tovertaken = ch.overtaken\n\t\t}\n", "\t\tovertaken = ch.overtaken\n\t\tif overtaken != nil && isClosed(overtaken) {\n\t\t\tout = time.Time{}\n\t\t}\n"}},
		pkg:   "client", test: "TestALastSaveWaitsForASaveThatMayHaveHappened",
	},
	{
		name:  "a save that finds no space keeps its number",
		edits: []edit{{"client/send_request.go", "\t\t\tanew = refusal.GetReason() == profilev1.Reason_REASON_NO_SPACE\n", ""}},
		pkg:   "client", test: "TestALastSaveOvertakesASaveThatWasOnlyRefused",
	},
	{
		name:  "one profile's unanswered save keeps its number",
		edits: []edit{{"client/send_request.go", "time.Since(out) > longOut", "false"}},
		pkg:   "client", test: "TestASaveThatIsNeverAnsweredStopsNoOther",
	},
	{
		name:  "the turn is kept while the profile's lock is waited for",
		edits: []edit{{"client/save.go", "\tlocked := s.data.lockUnless(s.doneUnlessKept(), s.ctx.Done())\n", "\tif l, err := s.beginStep(s.ctx); err == nil {\n\t\tdefer s.endStep()\n\t\tn, _ := l.numbers.takeNumber(s.ctx, nil)\n\t\tdefer l.numbers.settle(n)\n\t}\n\tlocked := s.data.lockUnless(s.doneUnlessKept(), s.ctx.Done())\n"}},
		pkg:   "client", test: "TestAProfileWhoseLockIsHeldStopsNoOther",
	},
	{
		name: "what is too large for the wire is tried again for ever",
		edits: []edit{
			{"client/check_request.go", "if part.limit > 0 && uint64(part.size) > part.limit {", "if part.limit == 0 {"},
			{"client/send_request.go", "case refusal == nil && isLocalError(err):", "case refusal == nil && err == nil:"},
		},
		pkg: "client", test: "TestWhatCanNeverBeSentIsRefused",
	},
	{
		name:  "a session begins when the client is closing",
		edits: []edit{{"client/session.go", "\tif closed {\n\t\ts.mu.Unlock()\n\t\treturn &Error{Act: \"start session\"", "\tif closed && s.begun {\n\t\ts.mu.Unlock()\n\t\treturn &Error{Act: \"start session\""}},
		pkg:   "client", test: "TestASessionThatIsLoadingWhenCloseBeginsIsRefused",
	},
	{
		name:  "data that a handler left half changed is saved",
		edits: []edit{{"client/end_by_panic.go", "\ts.finishSession(why)\n", ""}},
		pkg:   "client", test: "TestAPanicEndsAtMostItsSession",
	},
	{
		name:  "an answer that confirms nothing takes the doubt of a session",
		edits: []edit{{"client/renewals.go", "\tif answer.ProvedTerm == 0 {\n\t\treturn false\n\t}\n", "\tif answer.ProvedTerm == 0 {\n\t\tl.agreed.Store(answer.Sequence)\n\t\treturn false\n\t}\n"}},
		pkg:   "client", test: "TestAnAnswerThatConfirmsNothingTakesNoDoubt",
	},
	{
		name:  "the grant of a kept copy leaves the held set",
		edits: []edit{{"client/session.go", "if l != nil && !s.kept.Load() {", "if l != nil {"}},
		pkg:   "client", test: "TestAKeptCopyIsReclaimedAndSaved",
	},
}
