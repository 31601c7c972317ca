package client_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"testing"
)

// withoutExample lists the exported functions, and methods of Client, Store and Profile, that need no example, with the
// reason.
var withoutExample = map[string]string{}

// Each call that a game makes has an example that is compiled, and runs.
func TestEveryCallOfAGameHasAnExample(t *testing.T) {
	calls, examples := map[string]bool{}, map[string]*ast.FuncDecl{}
	files := token.NewFileSet()
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	comments := map[string][]*ast.CommentGroup{}
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), ".go") {
			continue
		}
		file, err := parser.ParseFile(files, entry.Name(), nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		test := strings.HasSuffix(entry.Name(), "_test.go")
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			switch {
			case !ok:
			case test && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Example"):
				name := strings.TrimPrefix(f.Name.Name, "Example")
				examples[name], comments[name] = f, file.Comments
			case !test && f.Name.IsExported():
				if name := callOfAGame(f); name != "" {
					calls[name] = true
				}
			}
		}
	}
	for _, name := range []string{"Open", "Client_Close", "Store_Get", "Profile_Update"} {
		if !calls[name] {
			t.Fatalf("%s was not found: the test does not see the package", name)
		}
	}
	for name := range calls {
		example := examples[name]
		switch reason := withoutExample[name]; {
		case example == nil && reason == "":
			t.Errorf("no Example%s: write one in client/example_*_test.go, as a game's developer would copy it", name)
		case example != nil && reason != "":
			t.Errorf("Example%s exists, and withoutExample says that it need not: %s", name, reason)
		case example != nil && !hasOutput(example, comments[name]):
			t.Errorf("Example%s has no // Output: comment, so it does not run", name)
		}
	}
	for name := range withoutExample {
		if !calls[name] {
			t.Errorf("withoutExample names %s, which does not exist", name)
		}
	}
}

// callOfAGame is the name of the example of a function, or of a method of the three types; of others it is empty.
func callOfAGame(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return f.Name.Name
	}
	of := f.Recv.List[0].Type
	if star, ok := of.(*ast.StarExpr); ok {
		of = star.X
	}
	if index, ok := of.(*ast.IndexExpr); ok {
		of = index.X
	}
	if name, ok := of.(*ast.Ident); ok && (name.Name == "Client" || name.Name == "Store" || name.Name == "Profile") {
		return name.Name + "_" + f.Name.Name
	}
	return ""
}

func hasOutput(f *ast.FuncDecl, comments []*ast.CommentGroup) bool {
	for _, group := range comments {
		if f.Body.Pos() < group.Pos() && group.End() < f.Body.End() && strings.HasPrefix(group.Text(), "Output:") {
			return true
		}
	}
	return false
}
