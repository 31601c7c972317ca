// Package mutation tests the tests: it builds the code with one fault in it, a mutation, and the test that was made for that
// fault must fail. A mutation lies over the sources only while such a test is built (go build -overlay). Each guards an
// invariant or a rule, and says which, by its name in ARCHITECTURE.md ("Invariants and rules").
//
// A mutation names a package, a function and the Go tokens in it that it replaces, see edit in find.go; the tables
// are the files in testdata, by the code that they change, each edit as in a diff. Some must be caught from outside, too, by a
// scenario of scripts/jepsen, which builds them with [Mutation.Build].
//
//	go test ./internal/mutation                                   the search for function and tokens, on small inputs
//	go test ./internal/mutation -mutations -run Fit               every mutation fits the code, and its test exists: seconds
//	go test ./internal/mutation -mutations -v -timeout 40m        every mutation is built and must be caught: minutes
//	go test ./internal/mutation -mutations -v -run Mutations/lock those whose name begins with "lock"
package mutation
