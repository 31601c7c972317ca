package mutation

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// edit replaces a piece of one declaration. It names no file and no layout, so that moving, formatting or commenting the
// declaration leaves the edit fitting.
type edit struct {
	folder string // of the package, from the module's root
	in     string // the function: f, T.m or (*T).m
	old    string // Go tokens that occur in the declaration exactly once
	new    string // the text in their place; it may be empty
}

// sources are the changed files of the module by their path from its root.
type sources map[string]string

// apply adds an edit to the files that earlier edits of the same mutation have changed.
func (changed sources) apply(root string, e edit) error {
	files, err := filepath.Glob(filepath.Join(root, e.folder, "*.go"))
	if err != nil {
		return err
	}
	var found []declaration
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		name := e.folder + "/" + filepath.Base(path)
		text, ok := changed[name]
		if !ok {
			read, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text = string(read)
		}
		declarations, err := findDeclarations(name, text, e.in)
		if err != nil {
			return err
		}
		found = append(found, declarations...)
	}
	if len(found) == 0 {
		return fmt.Errorf("%s: no declaration %s: it was renamed or moved; name the new one", e.folder, e.in)
	}
	// A function may be declared once for each operating system: the pattern says which is meant.
	total := 0
	var at declaration
	var from, to int
	for _, d := range found {
		n, start, end := findTokens(d.body, e.old)
		if n > 0 {
			at, from, to = d, start, end
		}
		total += n
	}
	if total != 1 {
		return fmt.Errorf("%s: %s holds the pattern %d times, want once: adapt the pattern to the code:\n%s", e.folder, e.in, total, e.old)
	}
	changed[at.file] = at.before + at.body[:from] + e.new + at.body[to:] + at.after
	return nil
}

// declaration is a file's text in three parts, the middle one being the declaration.
type declaration struct{ file, before, body, after string }

// findDeclarations returns the functions of a file that go by the given name.
func findDeclarations(file, text, name string) ([]declaration, error) {
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, file, text, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	var found []declaration
	for _, d := range parsed.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && functionName(f) == name {
			from, to := set.Position(f.Pos()).Offset, set.Position(f.End()).Offset
			found = append(found, declaration{file, text[:from], text[from:to], text[to:]})
		}
	}
	return found, nil
}

// functionName writes a function's name as a stack trace does, without type parameters.
func functionName(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return f.Name.Name
	}
	receiver, _, _ := strings.Cut(types.ExprString(f.Recv.List[0].Type), "[")
	if strings.HasPrefix(receiver, "*") {
		receiver = "(" + receiver + ")"
	}
	return receiver + "." + f.Name.Name
}

// findTokens counts where a text holds the tokens of a pattern, and returns the bytes of the last place.
func findTokens(text, pattern string) (count, from, to int) {
	all, want := scanTokens(text), scanTokens(pattern)
	if len(want) == 0 {
		return 0, 0, 0
	}
	for i := 0; i+len(want) <= len(all); i++ {
		same := slices.EqualFunc(all[i:i+len(want)], want, func(a, b lexeme) bool { return a.text == b.text })
		if same {
			count, from, to = count+1, all[i].from, all[i+len(want)-1].to
		}
	}
	return count, from, to
}

// lexeme is a token as it is written, and the bytes where it stands.
type lexeme struct {
	text     string
	from, to int
}

// scanTokens splits Go text into tokens. Comments are left out, and so are the semicolons that a line's end stands for.
func scanTokens(text string) []lexeme {
	var all []lexeme
	set := token.NewFileSet()
	file := set.AddFile("", set.Base(), len(text))
	var s scanner.Scanner
	s.Init(file, []byte(text), nil, 0)
	for {
		at, kind, literal := s.Scan()
		switch {
		case kind == token.EOF:
			return all
		case kind == token.SEMICOLON && literal != ";":
			continue
		case !kind.IsLiteral() && !kind.IsKeyword() && kind != token.ILLEGAL:
			literal = kind.String()
		}
		from := file.Offset(at)
		all = append(all, lexeme{literal, from, from + len(literal)})
	}
}
