package fsm_test

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

// However often a game server steals, what an operator did stays. Of the steals the newest are kept, and a row of each that
// was dropped is gone.
func TestStealsDoNotPushOutWhatAnOperatorDid(t *testing.T) {
	m := open(t, vfs.NewMem())
	defer func() { must(t, m.Close()) }()
	index := uint64(0)
	apply := func(commands ...*fsm.Command) []fsm.Result {
		index++
		data, err := fsm.Encode(fsm.Level, testCluster, 1000, commands)
		must(t, err)
		return read(m.Apply([]fsm.Log{{Index: index, Term: 1, Data: data}}))(t)[0].Results
	}
	apply(founding())
	register := func(name string) uint64 {
		return uint64(apply(fsm.NewCommand(nil, &fsm.Register{Name: name, Nonce: []byte("0123456789-----" + name)}))[0].Token)
	}
	owner, thief := register("a"), register("b")
	tool := uint64(apply(fsm.NewCommand(nil, &fsm.Register{Name: "c", Kind: 1, Nonce: []byte("0123456789-----c")}))[0].Token)
	registration := lock.Registration([]byte("01234567"))
	apply(fsm.NewCommand(&fsm.Request{Incarnation: owner, Number: 1, Hash: 1, Registration: registration}, &fsm.StartSession{Store: "players", Key: "p"}))
	apply(fsm.NewCommand(&fsm.Request{Incarnation: tool, Number: 1, Hash: 1, Registration: registration},
		&fsm.Set{Store: "players", Key: "q", Data: data("x")}))
	const beyond = 300
	number := uint64(0)
	for stolen := 0; stolen < fsm.MaxAudits+beyond; {
		var commands []*fsm.Command
		for place := 0; place < 1000 && stolen < fsm.MaxAudits+beyond; place += 2 {
			number += 2
			stolen++
			commands = append(commands,
				fsm.NewCommand(&fsm.Request{Incarnation: thief, Number: number - 1, Settled: number - 2, Hash: 1, Registration: registration}, &fsm.StartSession{
					Store: "players", Key: "p", WhenOwned: uint32(lock.Steal),
				}),
				fsm.NewCommand(&fsm.Request{Incarnation: thief, Number: number, Settled: number - 1, Hash: 1, Registration: registration}, &fsm.Cancel{
					Store: "players", Key: "p", Ticket: uint64(lock.TokenAt(index+1, place)),
				}))
		}
		for _, r := range apply(commands...) {
			if r.Code != fsm.Queued && r.Code != fsm.OK {
				t.Fatalf("a steal or its cancel became %+v", r)
			}
		}
	}
	look(t, m, func(v *fsm.View) {
		list, more, err := v.Audit(fsm.AuditFilter{}, 2*fsm.MaxAudits)
		must(t, err)
		if n := len(list); n != fsm.MaxAudits+1 || more || list[0].Kind != fsm.AuditSet || list[0].Ring != fsm.OperatorsRing ||
			list[1].Number != beyond+2 || list[n-1].Number != fsm.MaxAudits+beyond+1 {
			t.Errorf("%d audits are kept, the first of them %+v and %+v, more %v", n, list[0], list[1], more)
		}
		for _, test := range []struct {
			ring fsm.AuditRing
			want int
		}{{fsm.OperatorsRing, 1}, {fsm.GameServersRing, fsm.MaxAudits}} {
			if list, _, err := v.Audit(fsm.AuditFilter{Ring: test.ring}, 2*fsm.MaxAudits); err != nil || len(list) != test.want {
				t.Errorf("ring %d has %d audits, want %d: %v", test.ring, len(list), test.want, err)
			}
		}
		rows := 0
		for _, row := range read(v.Rows())(t) {
			if row.Key[0] == 'A' {
				rows++
			}
		}
		if rows != fsm.MaxAudits+1 {
			t.Errorf("%d rows are kept, want %d", rows, fsm.MaxAudits+1)
		}
	})
}

// An audit is shown for 90 days, also when nothing is audited after it. A few of those that are older go with each later
// one.
func TestAuditsAreKeptForNinetyDays(t *testing.T) {
	m := open(t, vfs.NewMem())
	defer func() { must(t, m.Close()) }()
	index, number, stamp := uint64(0), uint64(0), int64(1000)
	apply := func(c *fsm.Command) fsm.Result {
		index++
		data, err := fsm.Encode(fsm.Level, testCluster, stamp, []*fsm.Command{c})
		must(t, err)
		return read(m.Apply([]fsm.Log{{Index: index, Term: 1, Data: data}}))(t)[0].Results[0]
	}
	apply(founding())
	tool := uint64(apply(fsm.NewCommand(nil, &fsm.Register{Name: "c", Kind: 1, Nonce: make([]byte, 16)})).Token)
	set := func() {
		number++
		act := &fsm.Set{Store: "players", Key: "q", AnyRevision: true, Data: data("x")}
		if r := apply(fsm.NewCommand(&fsm.Request{Incarnation: tool, Number: number, Hash: 1}, act)); r.Code != fsm.OK {
			t.Fatalf("a set became %+v", r)
		}
	}
	kept := func() (listed, rows int) {
		look(t, m, func(v *fsm.View) {
			list, _, err := v.Audit(fsm.AuditFilter{}, 100)
			must(t, err)
			listed = len(list)
			for _, row := range read(v.Rows())(t) {
				if row.Key[0] == 'A' {
					rows++
				}
			}
		})
		return listed, rows
	}
	for range 5 {
		set()
	}
	stamp += fsm.MaxAuditAge.Milliseconds()
	apply(fsm.NewCommand(nil, &fsm.OpenTerm{Node: "n"}))
	if listed, rows := kept(); listed != 5 || rows != 5 {
		t.Errorf("after 90 days %d are listed and %d kept, want 5", listed, rows)
	}
	stamp++
	apply(fsm.NewCommand(nil, &fsm.OpenTerm{Node: "n"}))
	if listed, rows := kept(); listed != 0 || rows != 5 {
		t.Errorf("later %d are listed and %d kept, want 0 and 5", listed, rows)
	}
	for i, want := range []int{2, 2, 3} { // each drops four at most
		set()
		if listed, rows := kept(); listed != i+1 || rows != want {
			t.Errorf("after %d more %d are listed and %d kept, want %d and %d", i+1, listed, rows, i+1, want)
		}
	}
}
