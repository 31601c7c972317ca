package house_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// file is one source, parsed.
type file struct {
	path, dir string
	test      bool
	tree      *ast.File
}

// positions holds the lines of every file that parseFile read.
var positions = token.NewFileSet()

// parseFile parses a source, given by its path from the module's root.
func parseFile(name string, text []byte) (file, error) {
	tree, err := parser.ParseFile(positions, name, text, parser.SkipObjectResolution|parser.ParseComments)
	return file{path: name, dir: path.Dir(name), test: strings.HasSuffix(name, "_test.go"), tree: tree}, err
}

// readModule parses every Go file of the module, once for all tests. It reads them in this process, so that go test sees
// which files the result depends on, and does not reuse a cached pass after one of them changed.
var readModule = sync.OnceValues(func() (files []file, err error) {
	const root = "../.."
	err = filepath.WalkDir(root, func(at string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if at != root && (strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "testdata") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		text, err := os.ReadFile(at)
		if err != nil {
			return err
		}
		f, err := parseFile(strings.TrimPrefix(filepath.ToSlash(at), root+"/"), text)
		files = append(files, f)
		return err
	})
	return files, err
})

// mustReadModule ends the test if the module cannot be read whole.
func mustReadModule(t *testing.T) []file {
	t.Helper()
	files, err := readModule()
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"lock", "fsm", "gossip", "internal/house"} {
		if !slices.ContainsFunc(files, func(f file) bool { return f.dir == dir }) {
			t.Fatalf("found no source in %s: the walk does not see the module", dir)
		}
	}
	return files
}

// importChecker collects the complaints of one check.
type importChecker struct{ complaints []string }

// checkModule applies the rules to files and returns the complaints, sorted by file and line.
func checkModule(all []file) []string {
	var h importChecker
	packages := make(map[string][]file)
	for _, f := range all {
		packages[f.dir] = append(packages[f.dir], f)
	}
	for dir, files := range packages {
		allowed, known := findImportRule(dir)
		if !known {
			h.addComplaint(files[0].tree, "package %s is not in the table: say in the table what it may import", dir)
		}
		for _, f := range files {
			if known {
				h.checkOwnImports(f, allowed)
			}
			h.checkLibraries(f)
			if slices.Contains(purePackages, dir) && !f.test {
				h.checkPure(f)
			}
		}
		if slices.Contains(purePackages, dir) {
			h.checkVariables(files)
		}
	}
	slices.Sort(h.complaints)
	return h.complaints
}

func (h *importChecker) addComplaint(at ast.Node, format string, args ...any) {
	h.complaints = append(h.complaints, fmt.Sprintf("%v: %s", positions.Position(at.Pos()), fmt.Sprintf(format, args...)))
}

// findImportRule returns a package's entry in mayImport: its own, or else that of the nearest folder with "/...".
func findImportRule(dir string) (allowed []string, known bool) {
	if allowed, known = mayImport[dir]; known {
		return allowed, true
	}
	for up := path.Dir(dir); up != "."; up = path.Dir(up) {
		if allowed, known = mayImport[up+"/..."]; known {
			return allowed, true
		}
	}
	return nil, false
}

func importPath(spec *ast.ImportSpec) string {
	name, _ := strconv.Unquote(spec.Path.Value) // the parser has read it
	return name
}

func (h *importChecker) checkOwnImports(f file, allowed []string) {
	for _, spec := range f.tree.Imports {
		ours, ok := strings.CutPrefix(importPath(spec), module+"/")
		if !ok {
			continue
		}
		support := slices.Contains(testPackages, ours)
		switch {
		case slices.Contains(checkers, f.dir) && slices.Contains(checkedPackages, ours):
			h.addComplaint(spec, "%s imports %s: a checker does not import the code that it checks", f.dir, ours)
		case support && (f.test || slices.Contains(testPackages, f.dir)):
		case support:
			h.addComplaint(spec, "%s imports %s, which is for tests: only _test files and its like import it", f.dir, ours)
		case f.test && ours == f.dir: // an external test
		case !slices.Contains(allowed, ours):
			h.addComplaint(spec, "%s may not import %s: by the table it imports %q of ours", f.dir, ours, allowed)
		}
	}
}

func (h *importChecker) checkLibraries(f file) {
	for _, spec := range f.tree.Imports {
		for _, o := range libraryOwners {
			name := importPath(spec)
			if name != o.library && !strings.HasPrefix(name, o.library+"/") || o.tests && f.test {
				continue
			}
			mine := func(pattern string) bool {
				up, below := strings.CutSuffix(pattern, "/...")
				return f.dir == up || below && strings.HasPrefix(f.dir, up+"/")
			}
			if !slices.ContainsFunc(o.packages, mine) {
				h.addComplaint(spec, "%s imports %s, which belongs to %s: %s", f.dir, name, strings.Join(o.packages, ", "), o.why)
			}
		}
	}
}

func (h *importChecker) checkPure(f file) {
	clock := ""
	for _, spec := range f.tree.Imports {
		name := importPath(spec)
		if why, ok := impureLibraries[name]; ok {
			h.addComplaint(spec, "%s is pure and may not import %s: %s", f.dir, name, why)
		}
		if spec.Name != nil && spec.Name.Name == "." {
			h.addComplaint(spec, "%s is pure and may not import %s with a dot: a reader would not see which names it uses", f.dir, name)
		}
		if name == "time" {
			clock = "time"
			if spec.Name != nil {
				clock = spec.Name.Name
			}
		}
	}
	ast.Inspect(f.tree, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			h.addComplaint(n, "%s is pure and starts no goroutine: its caller decides what runs concurrently", f.dir)
		case *ast.FuncDecl:
			if n.Recv == nil && n.Name.Name == "init" {
				h.addComplaint(n, "%s is pure and has no init: its input comes by its arguments", f.dir)
			}
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && clock != "" && x.Name == clock && slices.Contains(clockFunctions, n.Sel.Name) {
				h.addComplaint(n, "%s is pure and may not use time.%s: the timestamp inside the entry is its only time", f.dir, n.Sel.Name)
			}
		}
		return true
	})
}

// checkVariables lets a pure package have constant tables at package level, and complains of variables that can only be
// there to be written, or are written.
func (h *importChecker) checkVariables(files []file) {
	const why = "state besides the arguments differs from node to node"
	tables := make(map[string]bool)
	for _, f := range files {
		for _, decl := range f.tree.Decls {
			d, ok := decl.(*ast.GenDecl)
			if !ok || d.Tok != token.VAR || f.test {
				continue
			}
			for _, spec := range d.Specs {
				v := spec.(*ast.ValueSpec)
				for i, name := range v.Names {
					switch {
					case name.Name == "_":
					case i >= len(v.Values) || isMadeToBeWritten(v.Values[i]):
						h.addComplaint(name, "%s is pure and %s can only be there to be written: %s", f.dir, name.Name, why)
					default:
						tables[name.Name] = true
					}
				}
			}
		}
	}
	written := func(n ast.Node, x ast.Expr) {
		if name := rootName(x); tables[name] {
			h.addComplaint(n, "%s at package level may not be written: %s", name, why)
		}
	}
	for _, f := range files {
		if f.test {
			continue
		}
		ast.Inspect(f.tree, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				if n.Tok != token.DEFINE {
					for _, x := range n.Lhs {
						written(n, x)
					}
				}
			case *ast.IncDecStmt:
				written(n, n.X)
			case *ast.RangeStmt:
				if n.Tok == token.ASSIGN {
					written(n, n.Key)
					written(n, n.Value)
				}
			case *ast.UnaryExpr:
				if n.Op == token.AND {
					written(n, n.X)
				}
			case *ast.CallExpr:
				if f, ok := n.Fun.(*ast.Ident); ok && (f.Name == "clear" || f.Name == "delete") && len(n.Args) > 0 {
					written(n, n.Args[0])
				}
			}
			return true
		})
	}
}

// isMadeToBeWritten reports whether a value is made by make, new, or as the address of a literal, and so is there to be written.
func isMadeToBeWritten(value ast.Expr) bool {
	switch v := value.(type) {
	case *ast.UnaryExpr:
		return v.Op == token.AND
	case *ast.CallExpr:
		f, ok := v.Fun.(*ast.Ident)
		return ok && (f.Name == "make" || f.Name == "new")
	}
	return false
}

// rootName returns the name that an expression begins with: x of x.f[i], "" of f().
func rootName(x ast.Expr) string {
	for {
		switch v := x.(type) {
		case *ast.Ident:
			return v.Name
		case *ast.IndexExpr:
			x = v.X
		case *ast.ParenExpr:
			x = v.X
		case *ast.SelectorExpr:
			x = v.X
		case *ast.SliceExpr:
			x = v.X
		case *ast.StarExpr:
			x = v.X
		default:
			return ""
		}
	}
}
