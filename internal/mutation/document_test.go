package mutation

var documentMutations = []mutation{
	{
		name:   "a stored zero counts as missing",
		guards: "client: stored document",
		edits: []edit{{
			"client/internal/document", "(*shape).fillValue",
			"if isNull(stored) && !s.acceptsNull() {",
			`if (isNull(stored) || string(stored) == "0") && !s.acceptsNull() {`,
		}},
		pkg: "client/internal/document", test: "TestMissingIsJudgedOnTheStoredDocument",
	},
	{
		name:   "a document is stored that does not read back the same",
		guards: "I2",
		edits: []edit{{
			"client/internal/document", "(*Document).Encode",
			"err = d.form.checkReadBack(value, known, document)",
			"",
		}},
		pkg: "client/internal/document", test: "TestWhatCannotBeReadBackIsRefused",
	},
	{
		name:   "a save drops fields that a newer version stored",
		guards: "client: stored document",
		edits: []edit{{
			"client/internal/document", "(*merger).mergeStruct",
			`b.addMember(h.quotedKey, h.value)
continue`,
			"continue",
		}},
		pkg: "client", test: "TestAnOldVersionKeepsWhatANewOneStored",
	},
}
