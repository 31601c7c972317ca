package mutation

var diskMutations = []mutation{
	{
		name:   "an append to the log is not synced",
		guards: "I2",
		edits: []edit{{
			"cluster", "(*logStore).StoreLogs",
			`s.commitBatch(batch, pebble.Sync); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == 0 {`,
			`s.commitBatch(batch, pebble.NoSync); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == 0 {`,
		}},
		pkg: "cluster", test: "TestAStopAtEveryFileOperation",
	},
	{
		name:   "a small file is replaced by one that is not synced",
		guards: "disk",
		edits: []edit{{
			"cluster/internal/disk", "WriteFile",
			`if err == nil {
	err = file.Sync()
}`,
			"",
		}},
		pkg: "cluster", test: "TestAStopAtEveryFileOperation",
	},
	{
		name:   "a snapshot is listed before its folder is synced",
		guards: "disk",
		edits: []edit{{
			"cluster", "(*snapshotSink).completeSnapshot",
			`if err := disk.SyncFolder(s.fs, s.root); err != nil {
	return err
}`,
			"",
		}},
		pkg: "cluster", test: "TestAStopAtEveryFileOperation",
	},
	{
		name:   "the files of an incoming snapshot are not synced",
		guards: "I2",
		edits: []edit{{
			"cluster", "(*snapshotUnpacker).endFile",
			"errors.Join(file.Sync(), file.Close())",
			"errors.Join(file.Close())",
		}},
		pkg: "cluster", test: "TestCrashDuringInstall",
	},
	{
		name:   "a restore at the start puts the tables back",
		guards: "I12",
		edits: []edit{{
			"cluster", "(*replica).Restore",
			"if meta.Row > r.tables.positionNow().Index {",
			"if meta.Row > 0 {",
		}},
		pkg: "cluster", test: "TestSnapshotWaitsForTheReplay",
	},
	{
		name:   "a damaged file of a snapshot is installed",
		guards: "I12",
		edits: []edit{{
			"cluster", "(*snapshotUnpacker).endFile",
			"if binary.BigEndian.Uint64(u.gathered) != sum {",
			"if binary.BigEndian.Uint64(u.gathered) != sum && false {",
		}},
		pkg: "cluster", test: "TestDamagedStreamIsRefused",
	},
	{
		name:   "a listed snapshot counts as installed",
		guards: "I2",
		edits: []edit{{
			"cluster", "(*Node).startRaft",
			"settings.ShutdownOnRemove = false",
			`settings.ShutdownOnRemove = false
settings.NoSnapshotRestoreOnStart = true`,
		}},
		pkg: "cluster", test: "TestASnapshotThatWasListedAndNotInstalledIsInstalledAtTheStart",
	},
	{
		name:   "a log that ends before the applied row is taken",
		guards: "I2",
		edits: []edit{{
			"cluster", "(*Node).checkLogCoversTables",
			"if position.Index > last {",
			"if position.Index > last+1<<60 {",
		}},
		pkg: "cluster", test: "TestANodeRefusesALogThatForgot",
	},
	{
		name:   "a snapshot is taken during the replay",
		guards: "disk",
		edits: []edit{{
			"cluster", "(*replica).Snapshot",
			"if row := r.tables.positionNow().Index; r.handedIndex < row {",
			"if row := r.tables.positionNow().Index; r.handedIndex+1<<60 < row {",
		}},
		pkg: "cluster", test: "TestSnapshotWaitsForTheReplay",
	},
	{
		name:   "raft gets an error of the log as an answer",
		guards: "rule 6",
		edits: []edit{{
			"cluster", "(*guardedLog).wrapError",
			"!errors.Is(err, raft.ErrLogNotFound)",
			"errors.Is(err, raft.ErrNotLeader)",
		}},
		pkg: "cluster", test: "TestABrokenLogStopsTheNode",
	},
	{
		name:   "an older snapshot is installed over a longer log",
		guards: "I2",
		edits: []edit{{
			"cluster", "(*replica).checkIncomingSnapshot",
			"if last > index {",
			"if last > index+1<<60 {",
		}},
		pkg: "cluster", test: "TestAdmission",
	},
	{
		name:   "raft cuts its log by entries alone",
		guards: "disk",
		edits: []edit{{
			"cluster", "(*guardedLog).DeleteRange",
			"last = min(last, entries.lastIndexToCut(g.keepBytes))",
			"_ = entries.lastIndexToCut(g.keepBytes)",
		}},
		pkg: "cluster", test: "TestAFollowerUnderLoadCatchesUpByOneSnapshot",
	},
	{
		name:   "large commands wait in one queue with small ones",
		guards: "I14",
		edits: []edit{{
			"cluster", "(*proposeQueue).laneFor",
			"if p.size > smallCommandBytes {",
			"if p.size > 1<<40 {",
		}},
		pkg: "cluster", test: "TestASmallSaveDoesNotWaitForLargeOnesBeforeIt",
	},
	{
		name:   "small commands leave no room for large ones",
		guards: "I14",
		edits: []edit{{
			"cluster", "(*proposeQueue).takeBatch",
			"batch, size := q.largeLane.takeFitting(nil, 0, room/2)",
			"batch, size := q.smallLane.takeFitting(nil, 0, room)",
		}},
		pkg: "cluster", test: "TestALargeSaveGoesOnUnderAFloodOfSmallOnes",
	},
	{
		name:   "the applied row is not in every batch of the tables",
		guards: "disk",
		edits: []edit{{
			"fsm", "(*Machine).applyBatch",
			"t.noteError(batch.Set([]byte{tablePosition}, t.position.encode(), nil))",
			`if t.position.Index%2 == 0 {
	t.noteError(batch.Set([]byte{tablePosition}, t.position.encode(), nil))
}`,
		}},
		pkg: "cluster", test: "TestAStopAtEveryFileOperation",
	},
	{
		name:   "a checkpoint links without a flush",
		guards: "I2",
		edits: []edit{{
			"fsm", "(*Machine).Checkpoint",
			`if err := m.Flush(); err != nil {
	return err
}`,
			"",
		}},
		pkg: "fsm", test: "TestCheckpoint",
	},
}
