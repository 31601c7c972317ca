package planted

// What a disk may not forget: each of these is seen when the power is lost at every file operation of a node's life, or
// by the test of the one rule that it breaks.
func init() {
	faults = append(faults, []fault{
		{
			name:  "an append to the log is not synced",
			edits: []edit{{"cluster/logstore.go", "s.commit(batch, pebble.Sync); err != nil {\n\t\treturn err\n\t}\n\ts.mu.Lock()\n\tdefer s.mu.Unlock()\n\tif s.last == 0 {", "s.commit(batch, pebble.NoSync); err != nil {\n\t\treturn err\n\t}\n\ts.mu.Lock()\n\tdefer s.mu.Unlock()\n\tif s.last == 0 {"}},
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
			name:  "the files of a snapshot are not synced",
			edits: []edit{{"cluster/snapshot_sink.go", "errors.Join(err, file.Sync(), file.Close())", "errors.Join(err, file.Close())"}},
			pkg:   "cluster", test: "TestAStopAtEveryFileOperation",
		},
		{
			name:  "what is installed is not synced",
			edits: []edit{{"cluster/snapshot_unpack.go", "errors.Join(file.Sync(), file.Close())", "errors.Join(file.Close())"}},
			pkg:   "cluster", test: "TestAStopAtEveryFileOperation",
		},
		{
			name:  "a save is acknowledged before it is committed",
			edits: []edit{{"cluster/snapshot.go", "XXX", ""}},
			pkg:   "cluster", test: "TestAStopAtEveryFileOperation",
		},
		{
			name:  "a snapshot is taken before the replay has reached the tables",
			edits: []edit{{"cluster/replica.go", "r.handed < row {", "r.handed < row && false {"}},
			pkg:   "cluster", test: "TestX",
		},
		{
			name:  "a restore goes back",
			edits: []edit{{"cluster/replica.go", "if meta.Row > r.tables.standing().Index {", "if true {"}},
			pkg:   "cluster", test: "TestX",
		},
		{
			name:  "a snapshot says a size that is not its stream's",
			edits: []edit{{"cluster/snapshot_pack.go", "int64(2+len(f.Name)+8) + f.Size + sumBytes", "int64(2+len(f.Name)+8) + f.Size"}},
			pkg:   "cluster", test: "TestX",
		},
		{
			name:  "a second Close of a snapshot does it again",
			edits: []edit{{"cluster/snapshot_sink.go", "\tif k.done {\n\t\treturn k.err\n\t}\n\tk.done = true\n\tif err := k.complete()", "\tk.done = true\n\tif err := k.complete()"}},
			pkg:   "cluster", test: "TestX",
		},
		{
			name:  "a Cancel after Close deletes the snapshot",
			edits: []edit{{"cluster/snapshot_sink.go", "\tif k.done {\n\t\treturn nil\n\t}\n", ""}},
			pkg:   "cluster", test: "TestX",
		},
		{
			name:  "a snapshot is deleted while it is read",
			edits: []edit{{"cluster/snapshot.go", "if i < s.retain || c.readers > 0 {", "if i < s.retain {"}},
			pkg:   "cluster", test: "TestX",
		},
		{
			name:  "a damaged file of a snapshot is installed",
			edits: []edit{{"cluster/snapshot_unpack.go", "if binary.BigEndian.Uint64(u.have) != sum {", "if false {"}},
			pkg:   "cluster", test: "TestX",
		},
		{
			name:  "nothing is flushed before a checkpoint",
			edits: []edit{{"cluster/replica.go", "return r.tables.flush() }", "return nil }"}},
			pkg:   "cluster", test: "TestX",
		},
	}...)
}
