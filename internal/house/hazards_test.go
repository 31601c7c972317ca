package house_test

import (
	"go/ast"
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
	tests := map[string]bool{} // package.TestName
	for _, f := range mustReadModule(t) {
		for _, d := range f.tree.Decls {
			if function, ok := d.(*ast.FuncDecl); ok && f.test && function.Recv == nil {
				tests[f.dir+"."+function.Name.Name] = true
			}
		}
	}
	rows, named := 0, 0
	for _, line := range strings.Split(string(page), "\n") {
		if !strings.HasPrefix(line, "| **") {
			continue
		}
		rows++
		leads := 0
		for _, m := range regexp.MustCompile("`([a-z0-9/]+\\.Test[A-Za-z0-9]+)`").FindAllStringSubmatch(line, -1) {
			leads++
			if !tests[m[1]] {
				t.Errorf("docs/hazards.md names %s, and there is no such test", m[1])
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
