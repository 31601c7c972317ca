package mutation

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// writeModule writes files into a new folder and returns it.
func writeModule(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

const bank = `package bank

// limit is the most that one may take.
const limit = 100

type account[T any] struct{ held int }

func (a *account[T]) take(n int) bool {
	if n > limit { // not too much
		return false
	}
	a.held -= n
	return true
}

func (a account[T]) take2() bool { return a.held > limit }

func take(n int) int { return n + n }
`

func TestAnEditFindsItsPlace(t *testing.T) {
	for _, test := range []struct{ name, in, old, new, want string }{
		{"a method of a pointer", "(*account).take", "n > limit", "n > 2*limit", "if n > 2*limit { // not too much"},
		{"a method of a value", "account.take2", "a.held > limit", "true", "bool { return true }"},
		{"a function", "take", "n + n", "n", "func take(n int) int { return n }"},
		{"other spaces, lines and comments", "(*account).take", "if n>limit {\n\n/* x */ return false }", "", "bool {\n\t\n\ta.held"},
		{"the signature", "take", "(n int) int {", "(n int) int {\nn++\n", "func take(n int) int {\nn++\n return"},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := writeModule(t, map[string]string{"bank/a.go": "package bank\n", "bank/b.go": bank, "bank/b_test.go": bank})
			changed := sources{}
			if err := changed.apply(root, edit{"bank", test.in, test.old, test.new}); err != nil {
				t.Fatal(err)
			}
			if got := changed["bank/b.go"]; len(changed) != 1 || !strings.Contains(got, test.want) {
				t.Errorf("got %q, want one file with %q", changed, test.want)
			}
		})
	}
}

func TestEditsOfOneFileAddUp(t *testing.T) {
	root := writeModule(t, map[string]string{"bank/b.go": bank})
	changed := sources{}
	for _, e := range []edit{{"bank", "account.take2", "limit", "7"}, {"bank", "take", "n + n", "n"}} {
		if err := changed.apply(root, e); err != nil {
			t.Fatal(err)
		}
	}
	if got := changed["bank/b.go"]; !strings.Contains(got, "a.held > 7") || !strings.Contains(got, "{ return n }") {
		t.Errorf("got %q, want both edits in it", got)
	}
}

func TestAnEditThatDoesNotFitSaysWhere(t *testing.T) {
	for _, test := range []struct{ name, in, old, want string }{
		{"no such function", "(*account).give", "n", "no declaration (*account).give"},
		{"a method without its receiver", "take2", "n", "no declaration take2"},
		{"a pattern that is not there", "take", "n - n", "take holds the pattern 0 times"},
		{"a name that is there three times", "take", "n", "take holds the pattern 3 times"},
		{"part of a name", "(*account).take", "lim", "holds the pattern 0 times"},
		{"an empty pattern", "take", " // n", "holds the pattern 0 times"},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := writeModule(t, map[string]string{"bank/b.go": bank})
			err := sources{}.apply(root, edit{folder: "bank", in: test.in, old: test.old})
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "bank") {
				t.Errorf("got %v, want the folder and %q", err, test.want)
			}
		})
	}
}
