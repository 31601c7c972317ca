package fsm_test

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

// The newest are kept, and a row of each that was dropped is gone.
func TestAuditsAreBounded(t *testing.T) {
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
	registration := lock.Registration([]byte("01234567"))
	apply(fsm.NewCommand(&fsm.Request{Incarnation: owner, Number: 1, Hash: 1, Registration: registration}, &fsm.StartSession{Store: "players", Key: "p"}))
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
		if len(list) != fsm.MaxAudits || more || list[0].Number != beyond+1 || list[len(list)-1].Number != fsm.MaxAudits+beyond {
			t.Errorf("%d audits are kept, from %d to %d, more %v", len(list), list[0].Number, list[len(list)-1].Number, more)
		}
		rows := 0
		for _, row := range read(v.Rows())(t) {
			if row.Key[0] == 'A' {
				rows++
			}
		}
		if rows != fsm.MaxAudits {
			t.Errorf("%d rows are kept, want %d", rows, fsm.MaxAudits)
		}
	})
}
