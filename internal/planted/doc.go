// Package planted tries the tests: it plants faults in the code, one at a time, and each must be caught by the test that
// was made for it. The faults lie over the sources only while such a test is built (go build -overlay), so the code holds
// nothing of them. It has no code of its own. Read planted_test.go, then the tables of faults beside it.
//
//	go test ./internal/planted                      each fault still fits the code, and its test exists
//	go test ./internal/planted -planted -v          each fault is planted and must be caught; takes minutes
//	go test ./internal/planted -planted -run Planted/lock
package planted
