package planted

// The rules by which a game's data is stored whole, and loaded as what it was.
var documentFaults = []fault{
	{
		name:  "a save drops what a newer version stored",
		edits: []edit{{"client/internal/document/merge.go", "\t\t\tb.addMember(h.quotedKey, h.value)\n\t\t\tcontinue\n", "\t\t\tcontinue\n"}},
		pkg:   "client", test: "TestAnOldVersionKeepsWhatANewOneStored",
	},
	{
		name:  "one stored element stands for two",
		edits: []edit{{"client/internal/document/merge.go", "\t\t\tmoved[string(is[i])] = same[1:]\n", ""}},
		pkg:   "client/internal/document", test: "FuzzSaveAgainstTheReference",
	},
	{
		name:  "a changed element keeps what it was not known to have",
		edits: []edit{{"client/internal/document/merge.go", "\tcase sliceKind:\n", "\tcase sliceKind:\n\t\tif len(arrayElements(now)) == len(arrayElements(known)) {\n\t\t\treturn m.mergeArray(s, at, stored, known, now)\n\t\t}\n"}},
		pkg:   "client", test: "TestAnOldVersionKeepsWhatANewOneStored",
	},
	{
		name:  "a zero that is stored counts as missing",
		edits: []edit{{"client/internal/document/fill.go", "\tif isNull(stored) && !s.acceptsNull() {", "\tif (isNull(stored) || string(stored) == \"0\") && !s.acceptsNull() {"}},
		pkg:   "client/internal/document", test: "TestMissingIsJudgedOnTheStoredDocument",
	},
	{
		name:  "what is written is not read back",
		edits: []edit{{"client/internal/document/form.go", "\t\terr = d.form.checkReadBack(value, known, document)\n", ""}},
		pkg:   "client/internal/document", test: "TestWhatCannotBeReadBackIsRefused",
	},
	{
		name:  "only a session's first save is looked at",
		edits: []edit{{"client/internal/document/form.go", "if !d.readBackOnce || d.form.root.hasCustomCode {", "if !d.readBackOnce {"}},
		pkg:   "client/internal/document", test: "TestWhatCannotBeReadBackIsRefused",
	},
	{
		name:  "what is not UTF-8 is replaced",
		edits: []edit{{"client/internal/document/encode.go", "\tif mayHideInvalidUTF8(data) {", "\tif data == nil {"}},
		pkg:   "client/internal/document", test: "TestWhatCannotBeReadBackIsRefused",
	},
	{
		name:  "Try works on the data itself",
		edits: []edit{{"client/profile.go", "\tchanged, err := p.template.deepCopy(&p.value)\n", "\tchanged, err := p.value, error(nil)\n"}},
		pkg:   "client", test: "TestTryChangesAllOrNothing",
	},
	{
		name:  "a copy may lack fields",
		edits: []edit{{"client/internal/document/form.go", "\tif err := f.root.checkCopyable(path{}, make(map[*shape]bool)); err != nil {\n\t\treturn copied, err\n\t}\n", ""}},
		pkg:   "client", test: "TestTryNeedsAFunctionForWhatJSONLeavesOut",
	},
}
