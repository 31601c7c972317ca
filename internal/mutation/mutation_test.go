package mutation

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

var (
	mutate = flag.Bool("mutations", false, "build every mutation and run the test that must catch it")
	tries  = flag.Int("tries", 1, "with -mutations: how often each test runs; it must catch its mutation every time")
)

// root is the module's folder, seen from this package's.
const root = "../.."

// readMutations reads the tables.
func readMutations(t *testing.T) []Mutation {
	t.Helper()
	all, err := Read(root)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func skipUnlessAsked(t *testing.T) {
	t.Helper()
	if !*mutate {
		t.Skip("it builds the code once for each mutation; run it with: go test ./internal/mutation -mutations -v -timeout 40m")
	}
}

// guarded is the form of a reference to an invariant or a rule in ARCHITECTURE.md.
var guarded = regexp.MustCompile(`^(I([1-9]|1[0-4])|rule [1-8][a-f]?|disk|(liveness|client): .+)$`)

// TestMutationsFitTheCode finds what a change of the code has left behind, without a build.
func TestMutationsFitTheCode(t *testing.T) {
	skipUnlessAsked(t)
	seen := map[string]bool{}
	for _, m := range readMutations(t) {
		if seen[m.String()] {
			t.Errorf("two mutations have the name %q", m)
		}
		seen[m.String()] = true
		if !guarded.MatchString(m.Guards) {
			t.Errorf("%s: guards %q, want I1 to I14, or a rule, as in ARCHITECTURE.md", m, m.Guards)
		}
		if _, err := m.apply(root); err != nil {
			t.Errorf("%s: %v", m, err)
		}
		top, _, _ := strings.Cut(m.Test, "/")
		if found, err := holdsTest(filepath.Join(root, m.Package), top); err != nil || !found {
			t.Errorf("%s: its test %s is not in %s (%v)", m, m.Test, m.Package, err)
		}
	}
}

func holdsTest(folder, test string) (bool, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			return false, err
		}
		if strings.Contains(string(source), "func "+test+"(") {
			return true, nil
		}
	}
	return false, err
}

// TestMutations builds each mutation and runs its test, which must fail. That it passes without the mutation, every other
// run of it shows. As many run at once as there are processors.
func TestMutations(t *testing.T) {
	skipUnlessAsked(t)
	var selected, done atomic.Int64 // selected is final before the first is built: parallel subtests wait for that
	began := time.Now()
	for _, m := range readMutations(t) {
		t.Run(m.String(), func(t *testing.T) {
			selected.Add(1)
			t.Parallel()
			result := runMutation(t, m)
			fmt.Printf("%d of %d, %v: %s (%s): %s\n", done.Add(1), selected.Load(), time.Since(began).Round(time.Second), m, m.Guards, result)
		})
	}
}

// runMutation returns the result in words, and fails t unless the mutation is caught.
func runMutation(t *testing.T, m Mutation) string {
	began := time.Now()
	binary, err := buildMutation(t.TempDir(), m)
	if err != nil {
		t.Errorf("it does not build: %v", err)
		return "DOES NOT BUILD"
	}
	for range *tries {
		out, err := runTest(m, binary)
		switch {
		case err == nil:
			t.Errorf("%s passed with it:\n%s", m.Test, keepEnd(out))
			return "NOT CAUGHT by " + m.Test
		case !regexp.MustCompile(`(?m)^\s*--- FAIL|^panic:|^fatal error:`).MatchString(out):
			t.Errorf("%s did not run: %v\n%s", m.Test, err, keepEnd(out))
			return "NOT CAUGHT: " + m.Test + " did not run"
		}
	}
	return fmt.Sprintf("caught by %s in %v", m.Test, time.Since(began).Round(time.Second))
}

// buildMutation compiles the package's tests with the mutation laid over its sources, and returns the binary's path.
func buildMutation(folder string, m Mutation) (string, error) {
	binary := filepath.Join(folder, "mutated.test")
	return binary, m.Build(root, folder, "test", "-c", "-o", binary, "./"+m.Package)
}

func runTest(m Mutation, binary string) (string, error) {
	levels := strings.Split(m.Test, "/")
	for i, name := range levels {
		levels[i] = "^" + regexp.QuoteMeta(name) + "$"
	}
	run := exec.Command(binary, "-test.run", strings.Join(levels, "/"), "-test.timeout", "3m", "-test.failfast")
	run.Dir = filepath.Join(root, m.Package)
	out, err := run.CombinedOutput()
	return string(out), err
}

// keepEnd shortens a long output to its end, where the reason stands.
func keepEnd(out string) string {
	const most = 4000
	return out[max(0, len(out)-most):]
}
