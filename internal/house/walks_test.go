package house_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// namedFunction is how a page of docs/walks names a function: `folder/file.go: name`, with the receiver before a method.
var namedFunction = regexp.MustCompile("`([a-z0-9_/]+\\.go): ([^`]+)`")

// The pages under docs/walks name the file and the function of each step. If one is renamed or moved, the page must follow.
func TestWalksNameFunctionsThatExist(t *testing.T) {
	pages, err := filepath.Glob("../../docs/walks/one-*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("no pages: %v", err)
	}
	functions := map[string]map[string]bool{} // by file
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		named := namedFunction.FindAllStringSubmatch(string(text), -1)
		if len(named) < 10 {
			t.Errorf("%s names %d functions: it is not read as it is written", filepath.Base(page), len(named))
		}
		for _, m := range named {
			file, name := m[1], m[2]
			if functions[file] == nil {
				functions[file] = listFunctions(t, file)
			}
			if !functions[file][name] {
				t.Errorf("%s names %s of %s, and there is no such function", filepath.Base(page), name, file)
			}
		}
	}
}

// listFunctions returns the functions of a file, methods with their receiver: (*Type).name.
func listFunctions(t *testing.T, file string) map[string]bool {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join("../..", file), nil, parser.SkipObjectResolution)
	if err != nil {
		t.Error(err)
		return map[string]bool{}
	}
	found := map[string]bool{}
	for _, declaration := range parsed.Decls {
		if f, ok := declaration.(*ast.FuncDecl); ok {
			found[receiverOf(f)+f.Name.Name] = true
		}
	}
	return found
}

// receiverOf returns "(*Type)." or "(Type)." of a method, with its type parameters, and nothing of a function.
func receiverOf(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return ""
	}
	receiver, star := f.Recv.List[0].Type, ""
	if pointer, ok := receiver.(*ast.StarExpr); ok {
		receiver, star = pointer.X, "*"
	}
	parameters := ""
	if generic, ok := receiver.(*ast.IndexExpr); ok {
		receiver, parameters = generic.X, "["+generic.Index.(*ast.Ident).Name+"]"
	}
	return "(" + star + receiver.(*ast.Ident).Name + parameters + ")."
}
