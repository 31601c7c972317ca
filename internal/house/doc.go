// Package house holds tests of the module's own rules, and no code: which package may import which (house_test.go has the
// table, check_test.go applies it), which package alone may import a library, what the pure packages never use, that
// docs/hazards.md names existing tests (hazards_test.go), and how often a function name may be defined (names_test.go).
package house
