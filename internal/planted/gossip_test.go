package planted

var gossipFaults = []fault{
	{
		name:  "gossip alone kills",
		edits: []edit{{"lock/ground.go", "case s.Silent >= t.Evidence && (s.GossipDead || s.Replaced || t.isAbandoned(s)):", "case s.GossipDead || s.Silent >= t.Evidence && (s.Replaced || t.isAbandoned(s)):"}},
		pkg:   "client/clienttest", test: "TestACutOfGossipAloneCostsNothing",
	},
	{
		name:  "a replaced incarnation ends at once",
		edits: []edit{{"lock/ground.go", "case s.Silent >= t.Evidence && (s.GossipDead || s.Replaced || t.isAbandoned(s)):", "case s.Replaced || s.Silent >= t.Evidence && (s.GossipDead || t.isAbandoned(s)):"}},
		pkg:   "cluster", test: "TestAReplacedIncarnationKeepsItsProfilesWhileItsProcessMayBelieve",
	},
	{
		name:  "a replaced incarnation ends in apply",
		edits: []edit{{"fsm/game_server.go", "\t\treplaced.Successor = id\n\t\tt.putRow(serverKey(tableServer, replaced.Incarnation), replaced.encode())\n", "\t\tt.endIncarnation(replaced.Incarnation, lock.Goodbye)\n"}},
		pkg:   "cluster", test: "TestAReplacedIncarnationKeepsItsProfilesWhileItsProcessMayBelieve",
	},
	{
		name:  "anybody may replace an incarnation",
		edits: []edit{{"fsm/game_server.go", " && lock.Registration(s.Nonce) == c.ReplacedRegistration", ""}},
		pkg:   "fsm", test: "TestStories",
	},
	{
		name:  "gossip is not asked",
		edits: []edit{{"cluster/failure_detector.go", "\tsignals.GossipDead = d.leader.node.seemsDead(inc)\n", ""}},
		pkg:   "client/clienttest", test: "TestALostHostIsTakenOverOnEvidence",
	},
	{
		name:  "a node that gossip does not reach is believed",
		edits: []edit{{"gossip/member_table.go", " && t.living > 0", ""}},
		pkg:   "client/clienttest", test: "TestANodeThatGossipReachesNotAccusesNobody",
	},
	{
		name:  "a leader that renews nobody judges all the same",
		edits: []edit{{"cluster/failure_detector.go", "\tif d.leader.checkPrompt() != nil {\n\t\tlate += d.settings.TickPeriod\n\t}\n", ""}},
		pkg:   "cluster", test: "TestALeaderThatRenewsNobodyJudgesNobody",
	},
	{
		name: "a name in gossip is used again",
		edits: []edit{
			{"client/gossip.go", "// gossipPool is where the nodes", "var reused sync.Map\n\n// gossipPool is where the nodes"},
			{"client/gossip.go", "leave, err := c.config.Gossip.Join(cluster, l.id,", "first, _ := reused.LoadOrStore(c, l.id)\n		leave, err := c.config.Gossip.Join(cluster, first.(uint64),"},
		},
		pkg: "client/clienttest", test: "TestANewIncarnationGossipsUnderANewName",
	},
}
