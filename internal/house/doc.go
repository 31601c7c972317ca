// Package house keeps the house in order: its tests say who may import whom, who owns which library, and what the pure
// packages never do. It has no code of its own. Read house_test.go, which is the rules; check_test.go applies them.
package house
