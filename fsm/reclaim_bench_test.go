package fsm_test

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

// BenchmarkReclaim: one command of the most claims, of a game server that was ended with 100,000 sessions.
func BenchmarkReclaim(b *testing.B) {
	const sessions = 100_000
	m, err := fsm.Open(fsm.Options{FS: vfs.Default, Dir: b.TempDir(), Logger: quiet{b}})
	must(b, err)
	defer func() { must(b, m.Close()) }()
	index, numbers := uint64(1), map[uint64]uint64{}
	apply := func(commands ...*fsm.Command) []fsm.Result {
		index++
		out := read(m.Apply([]fsm.Log{entry(b, index, commands...)}))(b)
		if out[0].Results[0].Code != fsm.OK {
			b.Fatalf("%v became %+v", commands[0], out[0].Results[0])
		}
		return out[0].Results
	}
	ask := func(server uint64, act any) *fsm.Command {
		numbers[server]++
		n := numbers[server]
		return fsm.NewCommand(&fsm.Request{Incarnation: server, Number: n, Settled: (n - 1) / 500 * 500, Hash: n}, act)
	}
	register := func(n uint64) uint64 {
		nonce := binary.BigEndian.AppendUint64(make([]byte, 8, 16), n)
		return uint64(apply(fsm.NewCommand(nil, &fsm.Register{Name: fmt.Sprint("gs-", n), Nonce: nonce}))[0].Token)
	}
	apply(founding())
	owner := register(1)
	claims := make([]*fsm.Claim, 0, sessions)
	for len(claims) < sessions {
		var commands []*fsm.Command
		for i := range 500 {
			commands = append(commands, ask(owner, &fsm.StartSession{Store: "players", Key: fmt.Sprintf("player-%08d", len(claims)+i)}))
		}
		for _, r := range apply(commands...) {
			claims = append(claims, &fsm.Claim{Store: "players", Key: fmt.Sprintf("player-%08d", len(claims)), Token: uint64(r.Token)})
		}
	}
	server := owner
	var took []time.Duration
	for b.Loop() {
		b.StopTimer()
		next := len(took) * fsm.MaxClaims % (sessions - fsm.MaxClaims)
		if next < fsm.MaxClaims || server == owner {
			apply(ask(server, &fsm.EndServer{}))
			server = register(uint64(len(took) + 2))
		}
		batch := claims[next : next+fsm.MaxClaims]
		b.StartTimer()
		began := time.Now()
		token := uint64(apply(ask(server, &fsm.Reclaim{Claims: batch}))[0].Token)
		took = append(took, time.Since(began))
		for _, c := range batch {
			c.Token = token
		}
	}
	look(b, m, func(v *fsm.View) {
		if s, _, err := v.Server(lock.Incarnation(server)); err != nil || s.Sessions == 0 {
			b.Errorf("nothing was reclaimed: %+v, %v", s, err)
		}
	})
	reportTimes(b, took)
}
