package house_test

import (
	"fmt"
	"go/ast"
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
	"cluster/internal/quorum",
	"cluster/internal/datafolder",
	"cluster/internal/raftlog",
	"cluster/internal/raftloop",
	"cluster/internal/snapshot",
	"cluster/internal/tables",
	"cluster/internal/scrub",
	"cluster/internal/liveness",
	"cluster/internal/commandqueue",
	"cluster",
}

// clusterFiles are the files of package cluster from the bottom up. A file should use functions of its own and of files
// before it: whoever reads it then needs to have read no later one.
var clusterFiles = []string{
	"config.go", "errors.go", "metrics.go",
	"digest.go",
	// the node, and one leadership
	"gossip.go", "lifecycle.go", "node.go", "clock.go", "leader_state.go", "confirm_leadership.go", "propose.go", "detector.go",
	"calendar.go", "disk_space.go", "hung_disk.go", "leadership.go", "leader_calls.go",
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
	mostFiles         = 25
	leastCallsChecked = 300
)

// layerFinding is the result of reading one package by files.
type layerFinding struct {
	up      []string       // each use of a function of a later file
	checked int            // uses of functions of the package that were found
	methods map[string]int // by type
	fields  map[string]int // by type
}

// findLayers reads the files of one package. It resolves names within the package alone: values whose types come from
// other packages are unknown, and calls on them are not counted.
func findLayers(files []file, order []string) layerFinding {
	found := layerFinding{methods: map[string]int{}, fields: map[string]int{}}
	var trees []*ast.File
	for _, f := range files {
		trees = append(trees, f.tree)
	}
	info := types.Info{Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{}}
	config := types.Config{Importer: emptyImporter{}, Error: func(error) {}} // unknown imports are no faults here
	checked, _ := config.Check("p", positions, trees, &info)
	place := func(at token.Pos) int { return slices.Index(order, path.Base(positions.Position(at).Filename)) }
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
			found.up = append(found.up, fmt.Sprintf("%v uses %s of %s", positions.Position(use.Pos()), function.Name(), order[to]))
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
	return found
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
	var root []file
	var names []string
	for _, f := range mustReadModule(t) {
		if f.test || f.dir != "cluster" && !strings.HasPrefix(f.dir, "cluster/internal/") {
			continue
		}
		checkImportsDown(t, f)
		if f.dir == "cluster" {
			root = append(root, f)
			names = append(names, path.Base(f.path))
		}
	}
	found := findLayers(root, clusterFiles)
	if found.checked < leastCallsChecked {
		t.Fatalf("found %d uses of functions, want at least %d: the check does not see them", found.checked, leastCallsChecked)
	}
	for _, complaint := range checkLayers(found, names, clusterFiles) {
		t.Errorf("package cluster: %s", complaint)
	}
	t.Logf("%d uses of functions, %d of a later file: %s", found.checked, len(found.up), strings.Join(found.up, ", "))
}

// checkImportsDown complains of an import of a later package.
func checkImportsDown(t *testing.T, f file) {
	t.Helper()
	own := slices.Index(clusterPackages, f.dir)
	if own < 0 {
		t.Errorf("package %s is not in the list clusterPackages: put it there after all that it imports", f.dir)
	}
	for _, spec := range f.tree.Imports {
		if at := slices.Index(clusterPackages, strings.TrimPrefix(importPath(spec), module+"/")); own >= 0 && at > own {
			t.Errorf("%s imports %s, which stands above it in clusterPackages", f.path, clusterPackages[at])
		}
	}
}

// The check itself must complain, or a pass would mean nothing.
func TestUsesOfLaterFilesAreFound(t *testing.T) {
	low, err := parseFile("p/low.go", []byte(`package p
		import "example.com/other"
		type low struct { high *high; x other.X }
		func (l *low) up() { l.high.raise(); f := raiseAll; f(); l.x.Y() }
		func drop() {}`))
	if err != nil {
		t.Fatal(err)
	}
	high, err := parseFile("p/high.go", []byte("package p; type high struct{}; func (h *high) raise() { drop() }; func raiseAll() {}"))
	if err != nil {
		t.Fatal(err)
	}
	found := findLayers([]file{low, high}, []string{"low.go", "high.go"})
	if found.checked != 3 || len(found.up) != 2 || !strings.Contains(found.up[0], "low.go:4") || !strings.HasSuffix(found.up[0], "uses raise of high.go") {
		t.Errorf("found %d uses, of later files %q; want 3, and those of raise and raiseAll", found.checked, found.up)
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
