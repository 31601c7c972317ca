package planted

var lockFaults = []fault{
	{
		name:  "a save is not fenced",
		edits: []edit{{"lock/lock.go", "if g.Owner != server || g.Token != token || g.Revoked {", "if g.Owner != server {"}},
		pkg:   "lock", test: "TestMayWrite",
	},
	{
		name:  "a newcomer overtakes the queue",
		edits: []edit{{"fsm/grant.go", "grant, out := old.Inherit(t.at, t.alive)", "grant, out := old.Grant, lock.Outcome{}"}},
		pkg:   "fsm", test: "TestStories",
	},
}
