package mutation

var serverMutations = []mutation{
	{
		name:   "unknown fields within a request are ignored",
		guards: "rule 6",
		edits: []edit{{
			"api/profilev1", "findMessage",
			"for _, field := range messageFields(m.Descriptor()) {",
			"for _, field := range messageFields(m.Descriptor())[:0] {",
		}},
		pkg: "internal/server", test: "TestUnknownFieldsAreRefusedWithoutEffect",
	},
	{
		name:   "a message that is set aside is offered again",
		guards: "client: panics",
		edits: []edit{{
			"fsm", "(*View).messagesFrom",
			"if m.SetAside() && !setAside {",
			"if false {",
		}},
		pkg: "internal/server", test: "TestMessageIsSetAsideAfterThreePanics",
	},
	{
		name:   "a renewal is confirmed for any registration",
		guards: "rule 2a",
		edits: []edit{{
			"internal/server", "(*Server).checkRegistration",
			"if err == nil && ok && lock.Registration(who.Nonce) != registration {",
			"if err == nil && ok && registration == 1 && lock.Registration(who.Nonce) != 1 {",
		},
			{
				"internal/server", "(*Server).checkAlive",
				"case ok && lock.Registration(who.Nonce) != registration:",
				"case ok && registration == 0:",
			}},
		pkg: "internal/server", test: "TestAnotherRegistrationHurtsNoIncarnation",
	},
	{
		name:   "a node takes a request that was meant for another cluster",
		guards: "rule 2a",
		edits: []edit{{
			"internal/server", "(*Server).checkBinding",
			"case binding != lock.Binding(standing.Cluster, standing.Epoch):",
			"case false:",
		}},
		pkg: "internal/server", test: "TestAnOldClustersGameServerHurtsNobodyInANewOne",
	},
	{
		name:   "an answer with no room for all revocations renews",
		guards: "I8",
		edits: []edit{{
			"internal/server", "(*Server).addUnaryEvents",
			"renewed.ConfirmedTerm = 0",
			"_ = i",
		}},
		pkg: "internal/server", test: "TestRenewWithoutAStreamTellsAllThatWasRevokedOrConfirmsNothing",
	},
	{
		name:   "a call is let in at any announced size",
		guards: "rule 7",
		edits: []edit{{
			"internal/server", "(*Server).admitCall",
			"if !s.received.takeIfFree(need) {",
			"if s.received.takeIfFree(0); need < 0 {",
		}},
		pkg: "internal/server", test: "TestLargeCallsAreRefusedBeforeTheirDataIsHere",
	},
}
