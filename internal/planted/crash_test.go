package planted

// What a disk may not forget, and the rules of snapshots by checkpoint.
var crashFaults = []fault{
	{
		name:  "an append to the log is not synced",
		edits: []edit{{"cluster/logstore.go", "s.commitBatch(batch, pebble.Sync); err != nil {\n\t\treturn err\n\t}\n\ts.mu.Lock()\n\tdefer s.mu.Unlock()\n\tif s.last == 0 {", "s.commitBatch(batch, pebble.NoSync); err != nil {\n\t\treturn err\n\t}\n\ts.mu.Lock()\n\tdefer s.mu.Unlock()\n\tif s.last == 0 {"}},
		pkg:   "cluster", test: "TestAStopAtEveryFileOperation",
	},
	{
		name:  "a cut under way is taken for a hole in the log",
		edits: []edit{{"cluster/logstore.go", "\t\ts.writing <- struct{}{}\n\t\tdefer func() { <-s.writing }()\n\t\tif first, last", "\t\tif first, last"}},
		pkg:   "cluster", test: "TestAReadBesideASlowCutFindsNoHole",
	},
	{
		name:  "the row is not in every batch of the tables",
		edits: []edit{{"fsm/fsm.go", "t.noteError(batch.Set([]byte{tablePosition}, t.position.encode(), nil))", "if t.position.Index%2 == 0 {\n\t\tt.noteError(batch.Set([]byte{tablePosition}, t.position.encode(), nil))\n\t}"}},
		pkg:   "cluster", test: "TestAStopAtEveryFileOperation",
	},
	{
		name:  "a small file is replaced by one that is not synced",
		edits: []edit{{"cluster/tables_folder.go", "\tif err == nil {\n\t\terr = file.Sync()\n\t}\n", ""}},
		pkg:   "cluster", test: "TestAStopAtEveryFileOperation",
	},
	{
		name:  "a snapshot is listed before its folder is synced",
		edits: []edit{{"cluster/snapshot_sink.go", "\tk.dir = s.fs.PathJoin(s.root, k.ID())\n\tif err := syncFolder(s.fs, s.root); err != nil {\n\t\treturn err\n\t}\n", "\tk.dir = s.fs.PathJoin(s.root, k.ID())\n"}},
		pkg:   "cluster", test: "TestAStopAtEveryFileOperation",
	},
	{
		name:  "what comes in of a snapshot is not synced",
		edits: []edit{{"cluster/snapshot_unpack.go", "errors.Join(file.Sync(), file.Close())", "errors.Join(file.Close())"}},
		pkg:   "cluster", test: "TestCrashDuringInstall",
	},
	{
		name:  "a snapshot is taken before the replay has reached the tables",
		edits: []edit{{"cluster/replica.go", "r.handedIndex < row {", "r.handedIndex < row && false {"}},
		pkg:   "cluster", test: "TestSnapshotWaitsForTheReplay",
	},
	{
		name:  "a restore goes back",
		edits: []edit{{"cluster/replica.go", "if meta.Row > r.tables.positionNow().Index {", "if meta.Row > 0 {"}},
		pkg:   "cluster", test: "TestSnapshotWaitsForTheReplay",
	},
	{
		name:  "a snapshot says a size that its stream has not",
		edits: []edit{{"cluster/snapshot_stream.go", "int64(2+len(f.Name)+8) + f.Size + sumBytes", "int64(2+len(f.Name)+8) + f.Size"}},
		pkg:   "cluster", test: "TestSnapshotTravels",
	},
	{
		name:  "a second Close of a snapshot does it again",
		edits: []edit{{"cluster/snapshot_sink.go", "\tif k.done {\n\t\treturn k.closeErr\n\t}\n\tk.done = true\n\tif err := k.completeSnapshot()", "\tk.done = true\n\tif err := k.completeSnapshot()"}},
		pkg:   "cluster", test: "TestSinkEndsOnce",
	},
	{
		name:  "a Cancel after Close deletes the snapshot",
		edits: []edit{{"cluster/snapshot_sink.go", "\tif k.done {\n\t\treturn nil\n\t}\n", ""}},
		pkg:   "cluster", test: "TestSinkEndsOnce",
	},
	{
		name:  "a snapshot is deleted while it is read",
		edits: []edit{{"cluster/snapshot.go", "if i < s.retain || c.readers > 0 {", "if i < s.retain {"}},
		pkg:   "cluster", test: "TestOldSnapshotsGoUnlessRead",
	},
	{
		name:  "a damaged file of a snapshot is installed",
		edits: []edit{{"cluster/snapshot_unpack.go", "if binary.BigEndian.Uint64(u.gathered) != sum {", "if binary.BigEndian.Uint64(u.gathered) != sum && false {"}},
		pkg:   "cluster", test: "TestDamagedStreamIsRefused",
	},
	{
		name:  "an install whose swap is unclear is taken back",
		edits: []edit{{"cluster/tables_swap.go", "return fmt.Errorf(\"%w: %w\", errSwapUnclear, errors.Join(err, t.closeMachine(g)))", "return abandon(errors.Join(err, t.closeMachine(g)))"}},
		pkg:   "cluster", test: "TestFaultAtTheSwap",
	},
	{
		name:  "a founding that was cut in two is not finished",
		edits: []edit{{"cluster/node.go", "err = n.storage.finishFounding(*first)", "err = nil"}},
		pkg:   "cluster", test: "TestAFoundingIsFinishedAfterAStopAnywhere",
	},
	{
		name:  "a log that cannot be flushed is tried for ever",
		edits: []edit{{"cluster/logstore.go", "\t\tEventListener:               &pebble.EventListener{BackgroundError: s.reportFault},\n", ""}},
		pkg:   "cluster", test: "TestALogOnAFullDiskStops/a_table_cannot_be_made",
	},
	{
		name:  "a log whose next file cannot be made ends the process",
		edits: []edit{{"cluster/logstore.go", "entryFiles{folderSyncs{fs, s.markBroken}, s.markBroken}", "folderSyncs{fs, s.markBroken}"}},
		pkg:   "cluster", test: "TestALogOnAFullDiskStops/the_next_file_cannot_be_made",
	},
	{
		name:  "a full disk is met before it is looked at",
		edits: []edit{{"cluster/node.go", "\tif err := n.measureSpace(); err != nil { // before Pebble writes, and says less\n\t\treturn err\n\t}\n", ""}},
		pkg:   "cluster", test: "TestANodeOnAFullDiskSaysSoBeforeItWrites",
	},
	{
		name:  "a node at its reserve is short in turns",
		edits: []edit{{"cluster/disk_space.go", "enough += n.config.Reserve / 16", "enough += 0"}},
		pkg:   "cluster", test: "TestANodeAtItsReserveIsNotShortInTurns",
	},
	{
		name:  "who a node is is read before whether it is in a cluster",
		edits: []edit{{"cluster/questions.go", "\tr := n.raftIfRunning() // before its identity: a node with a running raft has its cluster's name, and must not say that it has none\n\town := n.currentIdentity()\n", "\town := n.currentIdentity()\n\ttime.Sleep(time.Millisecond)\n\tr := n.raftIfRunning()\n"}},
		pkg:   "cluster", test: "TestANodeThatSaysHelloWhileItEntersNamesItsCluster",
	},
	{
		name:  "who was let in by an entry that was lost never asks again",
		edits: []edit{{"cluster/listed_nodes.go", "return n.askToJoin(n.ctx, askers[address], h.Cluster)", "_ = address\n\t\treturn nil"}},
		pkg:   "cluster", test: "TestWhoWasLetInByAnEntryThatWasLostAsksAgain",
	},
}
