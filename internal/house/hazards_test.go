package house_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// docs/hazards.md names the tests of each hazard, as `package.TestName` or as the path of a file in testdata. If a test is
// renamed or removed, its row must follow.
func TestHazardsHaveTheirTests(t *testing.T) {
	page, err := os.ReadFile("../../docs/hazards.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]map[string]bool{} // by package
	rows, named := 0, 0
	for _, line := range strings.Split(string(page), "\n") {
		if !strings.HasPrefix(line, "| **") {
			continue
		}
		rows++
		leads := 0
		for _, m := range regexp.MustCompile("`([a-z0-9/]+)\\.(Test[A-Za-z0-9]+)`").FindAllStringSubmatch(line, -1) {
			leads++
			if tests[m[1]] == nil {
				tests[m[1]] = listTests(t, m[1])
			}
			if !tests[m[1]][m[2]] {
				t.Errorf("docs/hazards.md names %s.%s, and there is no such test", m[1], m[2])
			}
		}
		for _, m := range regexp.MustCompile("`([a-z/]+/testdata/[a-z/.]+)`").FindAllStringSubmatch(line, -1) {
			leads++
			if _, err := os.Stat(filepath.Join("../..", m[1])); err != nil {
				t.Errorf("docs/hazards.md names %s: %v", m[1], err)
			}
		}
		if leads == 0 {
			t.Errorf("a hazard leads to no test: %s", line)
		}
		named += leads
	}
	if rows < 30 || named < rows {
		t.Errorf("found %d hazards and %d tests: the page is not read as it is written", rows, named)
	}
}

// listTests returns the names of a package's tests.
func listTests(t *testing.T, dir string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("../..", dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil {
				found[f.Name.Name] = true
			}
		}
	}
	return found
}
