package house_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
)

// clusterPackages are the packages below cluster from the bottom up. None imports one that stands after it.
var clusterPackages = []string{
	"cluster/internal/disk",
	"cluster/internal/peerwire",
	"cluster/internal/liveness",
	"cluster",
}

// clusterFiles are the files of package cluster from the bottom up. A file should use functions of its own and of files
// before it: whoever reads it then needs to have read no later one.
var clusterFiles = []string{
	"config.go", "errors.go", "metrics.go",
	// data folder, tables, raft's log
	"slow_step.go", "damage.go", "votes.go", "tables_folder.go", "folder.go", "tables_swap.go", "tables.go", "tables_view.go",
	"snapshot_stream.go", "snapshot_unpack.go", "snapshot_pack.go", "snapshot.go", "snapshot_reader.go", "snapshot_sink.go",
	"logstore_entry.go", "logstore_stuck.go", "logstore_mark.go", "logstore.go", "read_pace.go",
	"digest.go", "replica.go", "shutdown_guard.go", "memory_storage.go", "storage.go",
	// the node, and one leadership
	"gossip.go", "lifecycle.go", "node.go", "clock.go", "leader_state.go", "confirm_leadership.go", "propose.go", "detector.go",
	"calendar.go", "disk_space.go", "leadership.go", "leader_calls.go",
	// members
	"answers.go", "membership.go", "bootstrap.go", "members.go",
	// the whole
	"alarm.go", "status.go", "snapshot_schedule.go", "open.go",
}

// The bounds of package cluster. They may fall and should not rise.
const (
	mostCallsUp       = 10 // uses of a function of a later file
	mostMethods       = 45 // of one type
	mostFields        = 30 // of one struct; Config is exempt, since each setting is a field
	mostFiles         = 47
	leastCallsChecked = 300
)

// layerFinding is the result of reading one package by files.
type layerFinding struct {
	up      []string       // each use of a function of a later file
	checked int            // uses of functions of the package that were found
	methods map[string]int // by type
	fields  map[string]int // by type
}

// findLayers reads the sources of one package, by file name. It resolves names within the package alone: values whose types
// come from other packages are unknown, and calls on them are not counted.
func findLayers(sources map[string]string, order []string) (layerFinding, error) {
	found := layerFinding{methods: map[string]int{}, fields: map[string]int{}}
	files := token.NewFileSet()
	var trees []*ast.File
	for _, name := range slices.Sorted(maps.Keys(sources)) {
		tree, err := parser.ParseFile(files, name, sources[name], parser.SkipObjectResolution)
		if err != nil {
			return found, err
		}
		trees = append(trees, tree)
	}
	info := types.Info{Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{}}
	config := types.Config{Importer: emptyImporter{}, Error: func(error) {}} // unknown imports are no faults here
	checked, _ := config.Check("p", files, trees, &info)
	place := func(at token.Pos) int { return slices.Index(order, files.Position(at).Filename) }
	for use, object := range info.Uses {
		function, ok := object.(*types.Func)
		if !ok || function.Pkg() != checked {
			continue
		}
		if receiver := function.Signature().Recv(); receiver != nil && types.IsInterface(receiver.Type()) {
			continue // the interface is declared for its user, not by the callee
		}
		found.checked++
		if from, to := place(use.Pos()), place(function.Pos()); from < to {
			at := files.Position(use.Pos())
			found.up = append(found.up, fmt.Sprintf("%s:%d uses %s of %s", at.Filename, at.Line, function.Name(), order[to]))
		}
	}
	slices.Sort(found.up)
	for _, name := range checked.Scope().Names() {
		t, ok := checked.Scope().Lookup(name).(*types.TypeName)
		if !ok {
			continue
		}
		named, ok := t.Type().(*types.Named)
		if !ok {
			continue
		}
		found.methods[name] = named.NumMethods()
		if s, ok := named.Underlying().(*types.Struct); ok {
			found.fields[name] = s.NumFields()
		}
	}
	return found, nil
}

// emptyImporter gives an empty package for each path.
type emptyImporter struct{}

func (emptyImporter) Import(at string) (*types.Package, error) {
	name := path.Base(at)
	if strings.HasPrefix(name, "v") && len(name) == 2 {
		name = path.Base(path.Dir(at))
	}
	p := types.NewPackage(at, strings.TrimPrefix(name, "go-"))
	p.MarkComplete()
	return p, nil
}

// checkLayers returns a complaint for each bound that a package breaks.
func checkLayers(found layerFinding, names, order []string) (complaints []string) {
	for _, name := range names {
		if !slices.Contains(order, name) {
			complaints = append(complaints, fmt.Sprintf("%s is not in the list clusterFiles: put it there after all files whose functions it uses", name))
		}
	}
	for _, name := range order {
		if !slices.Contains(names, name) {
			complaints = append(complaints, fmt.Sprintf("%s is in the list clusterFiles and is no file: take it out", name))
		}
	}
	if len(names) > mostFiles {
		complaints = append(complaints, fmt.Sprintf("%d files, at most %d are allowed: give a part a package of its own", len(names), mostFiles))
	}
	if len(found.up) > mostCallsUp {
		complaints = append(complaints, fmt.Sprintf("%d uses of functions of a later file, at most %d are allowed: move the function down, "+
			"or pass it in as a value when the parts are put together:\n\t%s", len(found.up), mostCallsUp, strings.Join(found.up, "\n\t")))
	}
	for _, name := range slices.Sorted(maps.Keys(found.methods)) {
		if found.methods[name] > mostMethods {
			complaints = append(complaints, fmt.Sprintf("%s has %d methods, at most %d are allowed: give a part of it a type of its own", name, found.methods[name], mostMethods))
		}
		if found.fields[name] > mostFields && name != "Config" {
			complaints = append(complaints, fmt.Sprintf("%s has %d fields, at most %d are allowed: give a part of it a type of its own", name, found.fields[name], mostFields))
		}
	}
	return complaints
}

func TestClusterIsReadFromTheBottomUp(t *testing.T) {
	sources, err := readModule("../..")
	if err != nil {
		t.Fatal(err)
	}
	root := map[string]string{}
	for name, text := range sources {
		dir := folderOf(name)
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		if dir == "cluster" {
			root[path.Base(name)] = text
		}
		if strings.HasPrefix(dir, "cluster/internal/") || dir == "cluster" {
			checkImportsDown(t, name, text)
		}
	}
	found, err := findLayers(root, clusterFiles)
	if err != nil {
		t.Fatal(err)
	}
	if found.checked < leastCallsChecked {
		t.Fatalf("found %d uses of functions, want at least %d: the check does not see them", found.checked, leastCallsChecked)
	}
	for _, complaint := range checkLayers(found, slices.Sorted(maps.Keys(root)), clusterFiles) {
		t.Errorf("package cluster: %s", complaint)
	}
	t.Logf("%d uses of functions, %d of a later file: %s", found.checked, len(found.up), strings.Join(found.up, ", "))
}

// checkImportsDown complains of an import of a later package.
func checkImportsDown(t *testing.T, name, text string) {
	t.Helper()
	own := slices.Index(clusterPackages, folderOf(name))
	if own < 0 {
		t.Errorf("package %s is not in the list clusterPackages: put it there after all that it imports", folderOf(name))
		return
	}
	tree, err := parser.ParseFile(token.NewFileSet(), name, text, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range tree.Imports {
		if at := slices.Index(clusterPackages, strings.TrimPrefix(importPath(spec), module+"/")); at > own {
			t.Errorf("%s imports %s, which stands above it in clusterPackages", name, clusterPackages[at])
		}
	}
}

// The check itself must complain, or a pass would mean nothing.
func TestUsesOfLaterFilesAreFound(t *testing.T) {
	sources := map[string]string{
		"low.go":  "package p\nimport \"example.com/other\"\ntype low struct { high *high; x other.X }\nfunc (l *low) up() { l.high.raise(); f := raiseAll; f(); l.x.Y() }\nfunc drop() {}\n",
		"high.go": "package p\ntype high struct{}\nfunc (h *high) raise() { drop() }\nfunc raiseAll() {}\n",
	}
	found, err := findLayers(sources, []string{"low.go", "high.go"})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"low.go:4 uses raise of high.go", "low.go:4 uses raiseAll of high.go"}
	if !slices.Equal(found.up, want) || found.checked != 3 {
		t.Errorf("found %d uses, of later files %q; want 3, and %q", found.checked, found.up, want)
	}
	found.up = slices.Repeat(found.up, mostCallsUp)
	found.methods["low"], found.fields["high"] = mostMethods+1, mostFields+1
	complaints := strings.Join(checkLayers(found, []string{"low.go", "new.go"}, []string{"low.go", "high.go"}), "\n")
	for _, want := range []string{"new.go is not in the list", "high.go is in the list", "20 uses of functions", "low has 46 methods", "high has 31 fields"} {
		if !strings.Contains(complaints, want) {
			t.Errorf("no complaint that %s in:\n%s", want, complaints)
		}
	}
}
