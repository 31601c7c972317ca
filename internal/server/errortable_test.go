package server_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/internal/server"
)

// codesOf reads from the source which codes a command can end with, so that a new one cannot be forgotten here.
func codesOf(t *testing.T, path string) map[string]fsm.Code {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]fsm.Code{}
	for _, decl := range file.Decls {
		block, ok := decl.(*ast.GenDecl)
		if !ok || block.Tok != token.CONST {
			continue
		}
		for _, spec := range block.Specs {
			value := spec.(*ast.ValueSpec)
			kind, ok := value.Type.(*ast.Ident)
			if !ok || kind.Name != "Code" {
				continue
			}
			n, err := strconv.Atoi(value.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			found[value.Names[0].Name] = fsm.Code(n)
		}
	}
	return found
}

// faults lists what is wrong with an error table.
func faults(all map[string]fsm.Code, reasonOf func(fsm.Code) profilev1.Reason, table []server.Row) []string {
	var list []string
	fault := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	taken := map[profilev1.Reason]string{}
	for name, code := range all {
		reason := reasonOf(code)
		done := name == "OK" || name == "Queued"
		switch {
		case done && reason != profilev1.Reason_REASON_UNSPECIFIED:
			fault("%s is refused as %v", name, reason)
		case !done && (reason == profilev1.Reason_REASON_UNSPECIFIED || reason == profilev1.Reason_REASON_FAILED):
			fault("%s has no reason of its own", name)
		case !done && taken[reason] != "":
			fault("%s and %s share %v", name, taken[reason], reason)
		}
		if !done {
			taken[reason] = name
		}
	}
	for number, name := range profilev1.Reason_name {
		reason := profilev1.Reason(number)
		rows := 0
		for _, row := range table {
			if row.Reason == reason {
				rows++
			}
		}
		if want := 1; reason == profilev1.Reason_REASON_UNSPECIFIED {
			if rows != 0 {
				fault("%s has a row", name)
			}
		} else if rows != want {
			fault("%s has %d rows", name, rows)
		}
	}
	sentences := map[string]bool{}
	for _, row := range table {
		if row.Status == codes.OK || row.Status > codes.Unauthenticated {
			fault("%v goes out as %v", row.Reason, row.Status)
		}
		if len(row.Says) < 20 || sentences[row.Says] {
			fault("%v says nothing of its own: %q", row.Reason, row.Says)
		}
		sentences[row.Says] = true
	}
	return list
}

func TestTableIsTotalAndInjective(t *testing.T) {
	all := codesOf(t, "../../fsm/result.go")
	if len(all) < 23 {
		t.Fatalf("found %d codes in the source of fsm, want at least 23", len(all))
	}
	if got := faults(all, server.ReasonOf, server.Table()); len(got) > 0 {
		t.Errorf("the table is wrong:\n%s", strings.Join(got, "\n"))
	}
	for code := range 256 {
		_, known := slices.Collect(values(all)), false
		for _, c := range all {
			known = known || int(c) == code
		}
		if got := server.ReasonOf(fsm.Code(code)); !known && got != profilev1.Reason_REASON_FAILED {
			t.Errorf("a code %d of the future is %v, want failed", code, got)
		}
	}
}

func values(all map[string]fsm.Code) func(func(fsm.Code) bool) {
	return func(yield func(fsm.Code) bool) {
		for _, c := range all {
			if !yield(c) {
				return
			}
		}
	}
}

// A judge that passes everything would pass a broken table too.
func TestBrokenTablesAreFound(t *testing.T) {
	all := codesOf(t, "../../fsm/result.go")
	whole := server.Table()
	changed := func(change func([]server.Row) []server.Row) []server.Row { return change(slices.Clone(whole)) }
	forget := func(code fsm.Code, as profilev1.Reason) func(fsm.Code) profilev1.Reason {
		return func(c fsm.Code) profilev1.Reason {
			if c == code {
				return as
			}
			return server.ReasonOf(c)
		}
	}
	withNew := map[string]fsm.Code{"Planted": 200}
	for name, code := range all {
		withNew[name] = code
	}
	for name, got := range map[string][]string{
		"a new code":         faults(withNew, server.ReasonOf, whole),
		"a forgotten code":   faults(all, forget(fsm.GivenUp, profilev1.Reason_REASON_UNSPECIFIED), whole),
		"a shared reason":    faults(all, forget(fsm.GivenUp, profilev1.Reason_REASON_FENCED), whole),
		"a refused success":  faults(all, forget(fsm.OK, profilev1.Reason_REASON_FENCED), whole),
		"a missing row":      faults(all, server.ReasonOf, whole[1:]),
		"a doubled row":      faults(all, server.ReasonOf, changed(func(r []server.Row) []server.Row { return append(r, r[0]) })),
		"a row that is OK":   faults(all, server.ReasonOf, changed(func(r []server.Row) []server.Row { r[3].Status = codes.OK; return r })),
		"a row says nothing": faults(all, server.ReasonOf, changed(func(r []server.Row) []server.Row { r[3].Says = ""; return r })),
	} {
		if len(got) == 0 {
			t.Errorf("%s is not found", name)
		}
	}
}

// Every code that the tables can answer with goes out under its reason, status and details.
func TestEveryCodeGoesOut(t *testing.T) {
	for name, code := range codesOf(t, "../../fsm/result.go") {
		if name == "OK" || name == "Queued" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			w, node := fake(t, server.Limits{})
			owner := w.register("owner")
			g := w.register("asker")
			w.server.Close(soon(t)) // a fresh one, on a node that answers as told
			answer := fsm.Result{Code: code, Index: 77, Token: 5 << 16, Revision: 9, Limit: 3, Owner: lockID(owner.id)}
			w = serve(t, server.NewOn(answering{fakeNode: node, answer: answer}, server.Config{}), fakeCluster)

			_, err := w.profiles.Release(soon(t), &profilev1.ReleaseRequest{Request: g.next(), Store: "players", Key: "p", Token: 4})
			r := wantReason(t, err, server.ReasonOf(code))
			if r.Number != 1 || r.Index != 77 || r.Token != 5<<16 || r.Revision != 9 || r.Limit != 3 {
				t.Errorf("the refusal says %v", r)
			}
			if r.Owner.GetName() != "owner" || r.Owner.GetWhere() != "rack of owner" || !r.Owner.GetInForce() {
				t.Errorf("the owner is %v", r.Owner)
			}
			for _, row := range server.Table() {
				if row.Reason == r.Reason && status.Code(err) != row.Status {
					t.Errorf("goes out as %v, want %v", status.Code(err), row.Status)
				}
			}
		})
	}
}

// What the cluster says of a change decides whether the caller is told that it did not happen.
func TestOutcomesOfTheCluster(t *testing.T) {
	w, node := fake(t, server.Limits{})
	g := w.register("a")
	for _, c := range []struct {
		err  error
		want profilev1.Reason
		code codes.Code
	}{
		{&cluster.NotLeaderError{Leader: "10.0.0.2:7400"}, profilev1.Reason_REASON_NOT_LEADER, codes.Unavailable},
		{fmt.Errorf("propose: %w", &cluster.NotLeaderError{}), profilev1.Reason_REASON_NOT_LEADER, codes.Unavailable},
		{fmt.Errorf("propose: %w", cluster.ErrBusy), profilev1.Reason_REASON_BUSY, codes.ResourceExhausted},
		{fmt.Errorf("propose: %w", cluster.ErrNoSpace), profilev1.Reason_REASON_NO_SPACE, codes.ResourceExhausted},
		{fmt.Errorf("propose: %w", cluster.ErrUnconfirmed), profilev1.Reason_REASON_UNCONFIRMED, codes.Unavailable},
		{fmt.Errorf("propose: %w", cluster.ErrClosed), profilev1.Reason_REASON_NOT_LEADER, codes.Unavailable},
		{fmt.Errorf("propose: %w", cluster.ErrUnknown), profilev1.Reason_REASON_UNKNOWN, codes.Unknown},
		{fmt.Errorf("propose: %w: %w", cluster.ErrUnknown, cluster.ErrFailed), profilev1.Reason_REASON_FAILED, codes.Internal},
		{errors.New("nobody thought of this"), profilev1.Reason_REASON_UNKNOWN, codes.Unknown},
	} {
		node.Before = func(*fsm.Command) error { return c.err }
		_, err := g.profiles.StartSession(soon(t), &profilev1.StartSessionRequest{Request: g.next(), Store: "players", Key: "p"})
		r := wantReason(t, err, c.want)
		if status.Code(err) != c.code || r.Number != g.last {
			t.Errorf("%v: goes out as %v for number %d, want %v for %d", c.err, status.Code(err), r.Number, c.code, g.last)
		}
		var elsewhere *cluster.NotLeaderError
		if errors.As(c.err, &elsewhere) && r.Leader != elsewhere.Leader {
			t.Errorf("%v: the leader is %q", c.err, r.Leader)
		}
	}
}
