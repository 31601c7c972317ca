package house_test

import (
	"go/ast"
	"go/types"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// namedFunction is how a page of docs/walks names a function: `folder/file.go: name`, with the receiver before a method.
var namedFunction = regexp.MustCompile("`([a-z0-9_/]+\\.go: [^`]+)`")

// The pages under docs/walks name the file and the function of each step. If one is renamed or moved, the page must follow.
func TestWalksNameFunctionsThatExist(t *testing.T) {
	pages, err := filepath.Glob("../../docs/walks/one-*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("no pages: %v", err)
	}
	functions := map[string]bool{} // folder/file.go: name, methods with their receiver: (*Type).name
	for _, f := range mustReadModule(t) {
		for _, declaration := range f.tree.Decls {
			if function, ok := declaration.(*ast.FuncDecl); ok {
				functions[f.path+": "+receiverOf(function)+function.Name.Name] = true
			}
		}
	}
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
			if !functions[m[1]] {
				t.Errorf("%s names %s, and there is no such function", filepath.Base(page), m[1])
			}
		}
	}
}

// receiverOf returns "(*Type)." or "(Type)." of a method, with its type parameters, and nothing of a function.
func receiverOf(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return ""
	}
	receiver, _, _ := strings.Cut(types.ExprString(f.Recv.List[0].Type), "[") // without type parameters
	return "(" + receiver + ")."
}
