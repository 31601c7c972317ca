package mutation

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

// Mutation is a change of the code that a test must catch.
type Mutation struct {
	Name     string // what the changed code does wrong: "a learner is counted"
	Guards   string // the invariant or rule that it breaks: "I3", "rule 2c" (design, section 4), "liveness: renewals"
	Package  string // folder of the package whose test catches it
	Test     string // the name of that test; a subtest's after a slash
	Scenario string // of scripts/jepsen that must catch it from outside, too; empty: none

	edits []edit
}

// Read reads the tables of the module at root.
func Read(root string) (all []Mutation, err error) {
	files, err := filepath.Glob(filepath.Join(root, "internal/mutation/testdata/*.txt"))
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("no tables of mutations below %s", root)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		for block := range strings.SplitSeq(strings.TrimSpace(string(text)), "\n\n") {
			m, err := parse(block)
			if err != nil {
				return nil, fmt.Errorf("%s: %w in:\n%s", file, err, block)
			}
			all = append(all, m)
		}
	}
	return all, err
}

// parse reads one mutation: a line "name (guards)", a line "test folder TestName", perhaps a line "jepsen scenario", and for each
// edit a line "in folder declaration" with the old lines after "- " and the new ones after "+ ".
func parse(block string) (m Mutation, err error) {
	lines := strings.Split(block, "\n")
	name, guards, ok := strings.Cut(strings.TrimSuffix(lines[0], ")"), " (")
	if m.Name, m.Guards = name, guards; !ok {
		return m, errors.New("no line of the form: name (guards)")
	}
	for _, line := range lines[1:] {
		word, rest, _ := strings.Cut(line, " ")
		folder, place, _ := strings.Cut(rest, " ")
		last := len(m.edits) - 1
		switch {
		case word == "test":
			m.Package, m.Test = folder, place
		case word == "jepsen":
			m.Scenario = rest
		case word == "in":
			m.edits = append(m.edits, edit{folder: folder, in: place})
		case word == "-" && last >= 0:
			m.edits[last].old = strings.TrimPrefix(m.edits[last].old+"\n"+rest, "\n")
		case word == "+" && last >= 0:
			m.edits[last].new = strings.TrimPrefix(m.edits[last].new+"\n"+rest, "\n")
		default:
			return m, fmt.Errorf("a line that is no test, scenario, place, old or new line: %q", line)
		}
	}
	if m.Test == "" || len(m.edits) == 0 {
		return m, errors.New("it names no test, or no place")
	}
	return m, nil
}

// String is the mutation's name as -run sees it.
func (m Mutation) String() string { return path.Base(m.edits[0].folder) + ": " + m.Name }

// apply returns the changed files of the module at root.
func (m Mutation) apply(root string) (sources, error) {
	changed := sources{}
	for _, e := range m.edits {
		if err := changed.apply(root, e); err != nil {
			return nil, err
		}
	}
	return changed, nil
}

// Build runs a go command that builds, such as "build" or "test -c", of the module at root with the mutation laid over its sources.
// Without the debugger's tables a program links in half the time. The folder is for the changed files.
func (m Mutation) Build(root, folder string, command ...string) error {
	changed, err := m.apply(root)
	if err != nil {
		return err
	}
	module, err := filepath.Abs(root)
	if err != nil {
		return err
	}
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for file, text := range changed {
		with := filepath.Join(folder, strings.ReplaceAll(file, "/", "_"))
		if err := os.WriteFile(with, []byte(text), 0o600); err != nil {
			return err
		}
		overlay.Replace[filepath.Join(module, file)] = with
	}
	list, err := json.Marshal(overlay)
	if err != nil {
		return err
	}
	listed := filepath.Join(folder, "overlay.json")
	if err := os.WriteFile(listed, list, 0o600); err != nil {
		return err
	}
	at := 1 // behind the go command's own word; its flags follow
	compile := exec.Command("go", append(append(command[:at:at], "-buildvcs=false", "-ldflags", "-s -w", "-overlay", listed), command[at:]...)...)
	compile.Dir = root
	if out, err := compile.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}
