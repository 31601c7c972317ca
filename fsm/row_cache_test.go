package fsm_test

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

// More game servers than the machine remembers rows of come, settle and go.
func TestRememberedRowsAreBounded(t *testing.T) {
	m := open(t, vfs.NewMem())
	defer func() { must(t, m.Close()) }()
	index := uint64(1)
	read(m.Apply([]fsm.Log{entry(t, index, founding())}))(t)
	most := 0
	for batch := range 24 {
		var commands []*fsm.Command
		var registrations []uint64
		for i := range 64 {
			nonce := fmt.Appendf(nil, "%016d", batch*64+i)
			commands = append(commands, fsm.NewCommand(nil, &fsm.Register{Name: string(nonce), Nonce: nonce}))
			registrations = append(registrations, lock.Registration(nonce))
		}
		index++
		out := read(m.Apply([]fsm.Log{entry(t, index, commands...)}))(t)
		commands = commands[:0]
		for i, r := range out[0].Results {
			q := &fsm.Request{Incarnation: uint64(r.Token), Number: 1, Hash: 1, Registration: registrations[i]}
			if i%2 == 0 {
				commands = append(commands, fsm.NewCommand(q, &fsm.EndServer{}))
			} else {
				commands = append(commands, fsm.NewCommand(q, &fsm.Settle{}))
			}
		}
		index++
		read(m.Apply([]fsm.Log{entry(t, index, commands...)}))(t)
		most = max(most, read(m.CheckRemembered())(t))
	}
	if most < 1000 || most > fsm.RowCacheRows {
		t.Errorf("the machine remembered up to %d rows, want many, and at most %d", most, fsm.RowCacheRows)
	}
}

// What is forgotten is not remembered either.
func TestForgetDropsWhatIsRemembered(t *testing.T) {
	m := open(t, vfs.NewMem())
	defer func() { must(t, m.Close()) }()
	read(m.Apply([]fsm.Log{entry(t, 1, founding()), entry(t, 2, fsm.NewCommand(nil, &fsm.Register{Name: "a", Nonce: make([]byte, 16)}))}))(t)
	id := uint64(lock.TokenAt(2, 0))
	read(m.Apply([]fsm.Log{
		entry(t, 3, fsm.NewCommand(&fsm.Request{Incarnation: id, Number: 1, Hash: 1}, &fsm.EndServer{})),
		entry(t, 4, fsm.NewCommand(nil, &fsm.CountMinute{})),
		entry(t, 5, fsm.NewCommand(nil, &fsm.ForgetEnded{NothingLeftBefore: 1, Limit: 10})),
	}))(t)
	out := read(m.Apply([]fsm.Log{entry(t, 6, fsm.NewCommand(&fsm.Request{Incarnation: id, Number: 2, Hash: 1}, &fsm.Settle{}))}))(t)
	if got := out[0].Results[0].Code; got != fsm.Forgotten {
		t.Errorf("a request of a forgotten incarnation was answered %v, want %v", got, fsm.Forgotten)
	}
	read(m.CheckRemembered())(t)
}

// However many numbers are settled at once, their answers go, and no others.
func TestSettleDropsAnswers(t *testing.T) {
	for _, step := range []uint64{1, 15, 16, 17, 100, fsm.Window - 2} {
		t.Run(fmt.Sprint(step), func(t *testing.T) {
			m := open(t, vfs.NewMem())
			defer func() { must(t, m.Close()) }()
			read(m.Apply([]fsm.Log{entry(t, 1, founding()), entry(t, 2, fsm.NewCommand(nil, &fsm.Register{Name: "a", Nonce: make([]byte, 16)}))}))(t)
			id := lock.TokenAt(2, 0)
			var commands []*fsm.Command
			for number := uint64(1); number <= step+3; number++ {
				settled := uint64(0)
				if number == step+3 {
					settled = step
				}
				if number == step/2+1 && step > 2 {
					continue // a number that was never used leaves a hole
				}
				commands = append(commands, fsm.NewCommand(&fsm.Request{Incarnation: uint64(id), Number: number, Settled: settled, Hash: 1}, &fsm.Settle{}))
			}
			read(m.Apply([]fsm.Log{entry(t, 3, commands...)}))(t)
			look(t, m, func(v *fsm.View) {
				var numbers []uint64
				for _, a := range read(v.Answers(lock.Incarnation(id)))(t) {
					numbers = append(numbers, a.Number)
				}
				if got, want := fmt.Sprint(numbers), fmt.Sprint([]uint64{step + 1, step + 2, step + 3}); got != want {
					t.Errorf("after settling up to %d answers to %s are kept, want %s", step, got, want)
				}
			})
		})
	}
}

// A mark far beyond the window takes everything below it.
func TestSettleBeyondTheWindow(t *testing.T) {
	m := open(t, vfs.NewMem())
	defer func() { must(t, m.Close()) }()
	read(m.Apply([]fsm.Log{entry(t, 1, founding()), entry(t, 2, fsm.NewCommand(nil, &fsm.Register{Name: "a", Nonce: make([]byte, 16)}))}))(t)
	id := lock.TokenAt(2, 0)
	var commands []*fsm.Command
	for number := uint64(1); number <= fsm.Window; number++ {
		commands = append(commands, fsm.NewCommand(&fsm.Request{Incarnation: uint64(id), Number: number, Hash: 1}, &fsm.Settle{}))
	}
	commands = append(commands, fsm.NewCommand(&fsm.Request{Incarnation: uint64(id), Number: 5000, Settled: 4999, Hash: 1}, &fsm.Settle{}))
	read(m.Apply([]fsm.Log{entry(t, 3, commands...)}))(t)
	look(t, m, func(v *fsm.View) {
		if kept := read(v.Answers(lock.Incarnation(id)))(t); len(kept) != 1 || kept[0].Number != 5000 {
			t.Errorf("%d answers are kept, want the one to 5000", len(kept))
		}
	})
}
