package planted

// messageFaults are faults in how messages are handled, counted against and set aside.
var messageFaults = []fault{
	{
		name:  "a session lost in a panic is released without the count",
		edits: []edit{{"client/session.go", "\tif panicked {\n\t\treturn ", "\tif panicked && false {\n\t\treturn "}, {"client/end_by_panic.go", "\tcase s.turn <- struct{}{}:\n\t\tdefer s.endStep()\n", "\tcase s.turn <- struct{}{}:\n\t\ts.lose(nil)\n\t\tdefer s.endStep()\n"}},
		pkg:   "client", test: "TestPanicIsCountedOnceThroughLostAnswers",
	},
	{
		name:  "a panic is counted twice",
		edits: []edit{{"fsm/message.go", "m.Panics, m.PanicText = m.Panics+1, p.GetText()", "m.Panics, m.PanicText = m.Panics+2, p.GetText()"}},
		pkg:   "internal/sim", test: "TestTheReorderingProxy",
	},
	{
		name:  "the goodbye overtakes the count of a panic",
		edits: []edit{{"client/close.go", "\tc.waitForPanics(ctx)\n", ""}},
		pkg:   "client", test: "TestPanicIsCountedThoughTheClientCloses",
	},
	{
		name:  "a message handler's panic ends the process",
		edits: []edit{{"client/message.go", "\t\tif ok {\n\t\t\treturn\n\t\t}\n\t\tvalue := recover()", "\t\tif true {\n\t\t\treturn\n\t\t}\n\t\tvalue := recover()"}},
		pkg:   "client", test: "TestPanicInAMessageHandlerEndsOneSession",
	},
	{
		name:  "a message that a handler wants later holds up the others",
		edits: []edit{{"client/message.go", "\t\tl.later = l.later || answer == AnswerLater\n", "\t\tl.later = l.later || answer == AnswerLater\n\t\tif l.later {\n\t\t\ts.mail.waiting = append(s.mail.waiting, waiting[i:]...)\n\t\t\tbreak\n\t\t}\n"}},
		pkg:   "client", test: "TestMessageForLaterIsOfferedAgainAfterTheNextSave",
	},
	{
		name:  "a message that a handler wants later is cleared",
		edits: []edit{{"client/message.go", "\t\tif answer == AnswerDone {", "\t\tif answer != AnswerNotMine {"}},
		pkg:   "client", test: "TestMessageForLaterIsThereForTheNextOwner",
	},
	{
		name:  "a message that a handler wants later waits for a save that may never come",
		edits: []edit{{"client/message.go", "s.inbox.again = time.AfterFunc(offerLaterAfter, s.offerLater)", "s.inbox.again = nil"}},
		pkg:   "client", test: "TestMessageForLaterIsOfferedAgainAfterThirtySeconds",
	},
}
