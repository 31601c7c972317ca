package mutation

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path"
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

// mutation is a change of the code that a test must catch.
type mutation struct {
	name   string // what the changed code does wrong: "a learner is counted"
	guards string // the invariant or rule that it breaks: "I3", "rule 2c" (design, section 4), "liveness: renewals"
	edits  []edit
	pkg    string // folder of the package whose test catches it
	test   string // the name of that test; a subtest's after a slash
}

// root is the module's folder, seen from this package's.
const root = "../.."

// readMutations reads the tables in testdata.
func readMutations(t *testing.T) (all []mutation) {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no tables: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for block := range strings.SplitSeq(strings.TrimSpace(string(text)), "\n\n") {
			m, err := parseMutation(block)
			if err != nil {
				t.Fatalf("%s: %v in:\n%s", file, err, block)
			}
			all = append(all, m)
		}
	}
	return all
}

// parseMutation reads one mutation: a line "name (guards)", a line "test folder TestName", and for each edit a line
// "in folder declaration" with the old lines after "- " and the new ones after "+ ".
func parseMutation(block string) (m mutation, err error) {
	lines := strings.Split(block, "\n")
	name, guards, ok := strings.Cut(strings.TrimSuffix(lines[0], ")"), " (")
	if m.name, m.guards = name, guards; !ok {
		return m, errors.New("no line of the form: name (guards)")
	}
	for _, line := range lines[1:] {
		word, rest, _ := strings.Cut(line, " ")
		folder, place, _ := strings.Cut(rest, " ")
		last := len(m.edits) - 1
		switch {
		case word == "test":
			m.pkg, m.test = folder, place
		case word == "in":
			m.edits = append(m.edits, edit{folder: folder, in: place})
		case word == "-" && last >= 0:
			m.edits[last].old = strings.TrimPrefix(m.edits[last].old+"\n"+rest, "\n")
		case word == "+" && last >= 0:
			m.edits[last].new = strings.TrimPrefix(m.edits[last].new+"\n"+rest, "\n")
		default:
			return m, fmt.Errorf("a line that is no test, place, old or new line: %q", line)
		}
	}
	if m.test == "" || len(m.edits) == 0 {
		return m, errors.New("it names no test, or no place")
	}
	return m, nil
}

// String is the mutation's name as -run sees it.
func (m mutation) String() string { return path.Base(m.edits[0].folder) + ": " + m.name }

// apply returns the changed files.
func (m mutation) apply() (sources, error) {
	changed := sources{}
	for _, e := range m.edits {
		if err := changed.apply(root, e); err != nil {
			return nil, err
		}
	}
	return changed, nil
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
		if !guarded.MatchString(m.guards) {
			t.Errorf("%s: guards %q, want I1 to I14, or a rule, as in ARCHITECTURE.md", m, m.guards)
		}
		if _, err := m.apply(); err != nil {
			t.Errorf("%s: %v", m, err)
		}
		top, _, _ := strings.Cut(m.test, "/")
		if found, err := holdsTest(filepath.Join(root, m.pkg), top); err != nil || !found {
			t.Errorf("%s: its test %s is not in %s (%v)", m, m.test, m.pkg, err)
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
			fmt.Printf("%d of %d, %v: %s (%s): %s\n", done.Add(1), selected.Load(), time.Since(began).Round(time.Second), m, m.guards, result)
		})
	}
}

// runMutation returns the result in words, and fails t unless the mutation is caught.
func runMutation(t *testing.T, m mutation) string {
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
			t.Errorf("%s passed with it:\n%s", m.test, keepEnd(out))
			return "NOT CAUGHT by " + m.test
		case !regexp.MustCompile(`(?m)^\s*--- FAIL|^panic:|^fatal error:`).MatchString(out):
			t.Errorf("%s did not run: %v\n%s", m.test, err, keepEnd(out))
			return "NOT CAUGHT: " + m.test + " did not run"
		}
	}
	return fmt.Sprintf("caught by %s in %v", m.test, time.Since(began).Round(time.Second))
}

// buildMutation compiles the package's tests with the mutation laid over its sources, and returns the binary's path. Without
// the debugger's tables it links in half the time.
func buildMutation(folder string, m mutation) (string, error) {
	changed, err := m.apply()
	if err != nil {
		return "", err
	}
	module, err := filepath.Abs(root)
	if err != nil {
		return "", err
	}
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for file, text := range changed {
		with := filepath.Join(folder, strings.ReplaceAll(file, "/", "_"))
		if err := os.WriteFile(with, []byte(text), 0o600); err != nil {
			return "", err
		}
		overlay.Replace[filepath.Join(module, file)] = with
	}
	list, err := json.Marshal(overlay)
	if err != nil {
		return "", err
	}
	listed, binary := filepath.Join(folder, "overlay.json"), filepath.Join(folder, "mutated.test")
	if err := os.WriteFile(listed, list, 0o600); err != nil {
		return "", err
	}
	compile := exec.Command("go", "test", "-c", "-ldflags", "-s -w", "-overlay", listed, "-o", binary, "./"+m.pkg)
	compile.Dir = root
	if out, err := compile.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return binary, nil
}

func runTest(m mutation, binary string) (string, error) {
	levels := strings.Split(m.test, "/")
	for i, name := range levels {
		levels[i] = "^" + regexp.QuoteMeta(name) + "$"
	}
	run := exec.Command(binary, "-test.run", strings.Join(levels, "/"), "-test.timeout", "3m", "-test.failfast")
	run.Dir = filepath.Join(root, m.pkg)
	out, err := run.CombinedOutput()
	return string(out), err
}

// keepEnd shortens a long output to its end, where the reason stands.
func keepEnd(out string) string {
	const most = 4000
	return out[max(0, len(out)-most):]
}
