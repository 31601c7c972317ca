package planted

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	plant = flag.Bool("planted", false, "plant the faults: build and run the test of each")
	tries = flag.Int("tries", 1, "with -planted: how often a test must see its fault, one run after the other; more than one finds who sees it by luck")
)

// fault is a change of the code that a test must catch.
type fault struct {
	name  string // what is wrong with it, as a sentence's end: "a learner is counted"
	edits []edit
	pkg   string   // folder of the package whose test catches it
	test  string   // the name of that test; a subtest's after a slash
	args  []string // for the test binary, such as -seeds 200
}

// edit replaces a text that occurs once in a file.
type edit struct{ file, old, new string }

// root is the module's folder, seen from this package's.
const root = "../.."

// faults are all tables together, one from each file beside this one.
var faults = slices.Concat(lockFaults, crashFaults, gossipFaults, hazardFaults, operatorFaults, ownershipFaults, bytesFaults, messageFaults, documentFaults)

func (f fault) String() string { return f.pkg + "/" + strings.ReplaceAll(f.name, " ", "_") }

// apply returns the files with the fault in them.
func (f fault) apply() (map[string]string, error) {
	files := map[string]string{}
	for _, e := range f.edits {
		text, ok := files[e.file]
		if !ok {
			read, err := os.ReadFile(filepath.Join(root, e.file))
			if err != nil {
				return nil, err
			}
			text = string(read)
		}
		if n := strings.Count(text, e.old); n != 1 {
			return nil, fmt.Errorf("%s holds the text to be replaced %d times, want once:\n%s", e.file, n, e.old)
		}
		files[e.file] = strings.Replace(text, e.old, e.new, 1)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("it changes nothing")
	}
	return files, nil
}

// TestFaultsFitTheCode keeps the tables from rotting without building anything.
func TestFaultsFitTheCode(t *testing.T) {
	if len(faults) == 0 {
		t.Fatal("there are no faults")
	}
	var names []string
	for _, f := range faults {
		names = append(names, f.String())
		if _, err := f.apply(); err != nil {
			t.Errorf("%s: %v", f, err)
		}
		top, _, _ := strings.Cut(f.test, "/")
		if found, err := holds(filepath.Join(root, f.pkg), "func "+top+"("); err != nil || !found {
			t.Errorf("%s: its test %s is not in %s (%v)", f, f.test, f.pkg, err)
		}
	}
	slices.Sort(names)
	if once := slices.Compact(slices.Clone(names)); len(once) != len(names) {
		t.Error("two faults have one name")
	}
}

func holds(dir, text string) (bool, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			return false, err
		}
		if strings.Contains(string(source), text) {
			return true, nil
		}
	}
	return false, err
}

// TestPlanted plants each fault and runs its test, which must fail. That it passes otherwise every other run of it shows.
func TestPlanted(t *testing.T) {
	if !*plant {
		t.Skip("run it with -planted: it builds a test for each fault")
	}
	for _, f := range faults {
		t.Run(f.String(), func(t *testing.T) {
			t.Parallel()
			files, err := f.apply()
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			binary := build(t, f, files)
			for range *tries {
				out, err := run(t, f, binary)
				switch {
				case err == nil:
					t.Errorf("nobody saw that %s: %s passed\n%s", f.name, f.test, tail(out))
				case !regexp.MustCompile(`(?m)^\s*--- FAIL|^panic:|^fatal error:`).MatchString(out):
					t.Errorf("%s did not fail, it did not run: %v\n%s", f.test, err, tail(out))
				}
			}
			if !t.Failed() {
				t.Logf("caught in %v by %s", time.Since(began).Round(time.Second), f.test)
			}
		})
	}
}

// build compiles the package's tests with the fault laid over its sources. Nobody debugs them: without the debugger's tables
// they link in half the time.
func build(t *testing.T, f fault, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	module, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for file, text := range files {
		with := filepath.Join(dir, strings.ReplaceAll(file, "/", "_"))
		if err := os.WriteFile(with, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		overlay.Replace[filepath.Join(module, file)] = with
	}
	list, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	listed, binary := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "planted.test")
	if err := os.WriteFile(listed, list, 0o600); err != nil {
		t.Fatal(err)
	}
	compile := exec.CommandContext(t.Context(), "go", "test", "-c", "-ldflags", "-s -w", "-overlay", listed, "-o", binary, "./"+f.pkg)
	compile.Dir = root
	if out, err := compile.CombinedOutput(); err != nil {
		t.Fatalf("with the fault it does not build: %v\n%s", err, out)
	}
	return binary
}

func run(t *testing.T, f fault, binary string) (string, error) {
	t.Helper()
	levels := strings.Split(f.test, "/")
	for i, name := range levels {
		levels[i] = "^" + regexp.QuoteMeta(name) + "$"
	}
	args := append([]string{"-test.run", strings.Join(levels, "/"), "-test.timeout", "3m", "-test.failfast"}, f.args...)
	try := exec.CommandContext(t.Context(), binary, args...)
	try.Dir = filepath.Join(root, f.pkg)
	out, err := try.CombinedOutput()
	return string(out), err
}

// tail is the end of a long output.
func tail(out string) string {
	const most = 4000
	return out[max(0, len(out)-most):]
}
