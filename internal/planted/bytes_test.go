package planted

// The rules that go by bytes.
var bytesFaults = []fault{
	{
		name:  "raft cuts its log by entries alone",
		edits: []edit{{"cluster/storage.go", "last = min(last, entries.lastIndexToCut(g.keepBytes))", "_ = entries.lastIndexToCut(g.keepBytes)"}},
		pkg:   "cluster", test: "TestAFollowerUnderLoadCatchesUpByOneSnapshot",
	},
	{
		name:  "no entry stays for its own sake",
		edits: []edit{{"cluster/node.go", "settings.TrailingLogs = n.config.TrailingLogs\n", "settings.TrailingLogs = 1\n"}},
		pkg:   "cluster", test: "TestSomeEntriesStayHoweverFewBytes",
	},
	{
		name:  "a cut of the head leaves the first entry without a mark",
		edits: []edit{{"cluster/logstore.go", "deleteMarks(batch, 0, to), next.writeTo(batch))", "deleteMarks(batch, 0, to))"}},
		pkg:   "cluster", test: "TestMarksSayHowManyBytesFollow",
	},
	{
		name:  "a cut of the tail leaves its marks on disk",
		edits: []edit{{"cluster/logstore.go", "batch.DeleteRange(entryKey(from), entryKey(to+1), nil), deleteMarks(batch, from, to));", "batch.DeleteRange(entryKey(from), entryKey(to+1), nil));"}},
		pkg:   "cluster", test: "TestMarksSayHowManyBytesFollow",
	},
	{
		name:  "large commands wait in the same line as small ones",
		edits: []edit{{"cluster/propose.go", "\tif p.size > smallCommandBytes {\n", "\tif p.size > 1<<40 {\n"}},
		pkg:   "cluster", test: "TestASmallSaveDoesNotWaitForLargeOnesBeforeIt",
	},
	{
		name:  "small commands go first and take all",
		edits: []edit{{"cluster/propose.go", "batch, size := q.largeLane.takeFitting(nil, 0, room/2)", "batch, size := q.smallLane.takeFitting(nil, 0, room)"}},
		pkg:   "cluster", test: "TestALargeSaveGoesOnUnderAFloodOfSmallOnes",
	},
	{
		name:  "large commands take all that may be in flight",
		edits: []edit{{"cluster/propose.go", "limit -= limit / 4 //", "limit -= limit / 1000 //"}},
		pkg:   "cluster", test: "TestLargeCommandsLeaveRoomInFlight",
	},
	{
		name:  "a message's length is believed",
		edits: []edit{{"cluster/opening_frame.go", "payload, err := io.ReadAll(io.LimitReader(from, int64(size)))\n\tif err == nil && len(payload) < int(size) {\n\t\terr = io.ErrUnexpectedEOF\n\t}\n", "payload := make([]byte, size)\n\t_, err := io.ReadFull(from, payload)\n\tif err == io.EOF {\n\t\terr = io.ErrUnexpectedEOF\n\t}\n"}},
		pkg:   "cluster", test: "TestALyingLengthCostsNothing",
	},
	{
		name:  "the size of data in parts is believed",
		edits: []edit{{"fsm/save.go", "\tvar parts [][]byte\n", "\tparts := make([][]byte, 0, d.Parts)\n"}},
		pkg:   "fsm", test: "FuzzEntry",
	},
	{
		name:  "a message's body is written again when a panic is counted",
		edits: []edit{{"fsm/message.go", "t.putRow(numberedKey(tableMessage, store, key, m.ID), m.encode())\n\t\tif", "t.putRow(numberedKey(tableMessage, store, key, m.ID), m.encode())\n\t\tbody, _ := t.getRow(numberedKey(tableBody, store, key, m.ID))\n\t\tt.putRow(numberedKey(tableBody, store, key, m.ID), body)\n\t\tif"}},
		pkg:   "fsm", test: "TestNoCommandIsTooHeavy/a_release_that_counts_panics_of_many_messages",
	},
	{
		name:  "a panic is counted without the token",
		edits: []edit{{"fsm/session.go", "\tif out.Refusal != lock.None {\n\t\treturn Result{Code: codeOfRefusal(out.Refusal), Token: old.Token}\n\t}\n\tt.messages.countPanics(c.Store, c.Key, c.Panics)", "\tt.messages.countPanics(c.Store, c.Key, c.Panics)\n\tif out.Refusal != lock.None {\n\t\treturn Result{Code: codeOfRefusal(out.Refusal), Token: old.Token}\n\t}\n\t_ = 0"}},
		pkg:   "fsm", test: "TestMachineAgainstItsTwin",
	},
	{
		name:  "a message that was set aside is offered again",
		edits: []edit{{"fsm/view.go", "if m.SetAside() && !setAside {", "if false {"}},
		pkg:   "internal/server", test: "TestMessageIsSetAsideAfterThreePanics",
	},
	{
		name:  "a message is set aside one panic too late",
		edits: []edit{{"fsm/limits.go", "MaxPanics     = 3 ", "MaxPanics     = 4 "}},
		pkg:   "fsm", test: "TestMachineAgainstItsTwin",
	},
	{
		name:  "a message that was set aside counts as one that waits",
		edits: []edit{{"fsm/message.go", "\tif box.Waiting == 0 {\n", "\tif box.Waiting+box.SetAside == 0 {\n"}},
		pkg:   "fsm", test: "TestStories/set_aside",
	},
	{
		name:  "a step of a walk goes on however many wait",
		edits: []edit{{"fsm/session.go", "if waiters >= walkWaiters {", "if waiters >= walkWaiters*1000 {"}},
		pkg:   "fsm", test: "TestNoCommandIsTooHeavy/a_step_of_a_walk_where_many_wait",
	},
	{
		name:  "a batch is read behind its deleted ranges",
		edits: []edit{{"fsm/game_server.go", "\tt.sweepPrefix(serverKey(tableOwned, id))\n\tt.sweepPrefix(serverKey(tableOwnedInbox, id))\n\tt.sweepPrefix(serverKey(tablePart, id))\n", "\tt.deletePrefix(serverKey(tableOwned, id))\n\tt.deletePrefix(serverKey(tablePart, id))\n"}},
		pkg:   "fsm", test: "TestNoCommandIsTooHeavy/verdicts_on_many",
	},
	{
		name:  "what is swept stays",
		edits: []edit{{"fsm/fsm.go", "\tt.finishSweep()\n", ""}},
		pkg:   "fsm", test: "TestMachineAgainstItsTwin",
	},
	{
		name:  "small saves wait in line with large ones",
		edits: []edit{{"internal/server/save.go", "if len(data) <= smallData {", "if len(data) < 0 {"}},
		pkg:   "internal/server", test: "TestSmallSavesDoNotWaitInLineWithLargeOnes",
	},
	{
		name:  "a call is let in whatever it announces",
		edits: []edit{{"internal/server/admit_call.go", "if !s.received.takeIfFree(need) {", "if s.received.takeIfFree(0); need < 0 {"}},
		pkg:   "internal/server", test: "TestLargeCallsAreRefusedBeforeTheirDataIsHere",
	},
	{
		name:  "an announcement is believed",
		edits: []edit{{"internal/server/admit_call.go", "int64(len(data)) > announcedBytes(header) {", "int64(len(data)) < 0 {"}},
		pkg:   "internal/server", test: "TestWhoAnnouncesMustSayTheTruth",
	},
	{
		name:  "a session without room for its data is refused",
		edits: []edit{{"internal/server/session.go", "\t\treturn refusalError(&profilev1.Refusal{Reason: profilev1.Reason_REASON_UNKNOWN, Number: number}, \"\")\n", "\t\treturn err\n"}},
		pkg:   "internal/server", test: "TestReadsWaitForRoom",
	},
	{
		name:  "an answer counts until gRPC has it",
		edits: []edit{{"internal/server/reply_budget.go", "if !ok || r.isEmpty() || r.conn != nil && !r.conn.keepBudget(r) {", "if ok || r.conn != nil {"}},
		pkg:   "internal/server", test: "TestASlowConnectionHoldsNoMoreThanItsShare",
	},
	{
		name:  "what gRPC forgets with a connection counts for ever",
		edits: []edit{{"internal/server/peer_conn.go", "\t\tr.releaseAll() // gRPC", "\t\t_ = r // gRPC"}},
		pkg:   "internal/server", test: "TestASlowConnectionHoldsNoMoreThanItsShare",
	},
}
