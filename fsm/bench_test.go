package fsm_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

// BenchmarkSave: 4 KiB of data each, 64 saves an Apply, as 64 entries and as one.
func BenchmarkSave(b *testing.B) {
	for _, packed := range []bool{false, true} {
		b.Run(map[bool]string{false: "64 entries of 1", true: "1 entry of 64"}[packed], func(b *testing.B) { benchmarkSave(b, packed) })
	}
}

func benchmarkSave(b *testing.B, packed bool) {
	const profiles, batch, size = 1024, 64, 4096
	m, err := fsm.Open(fsm.Options{FS: vfs.Default, Dir: b.TempDir(), Logger: quiet{b}})
	must(b, err)
	defer func() { must(b, m.Close()) }()
	index, number := uint64(2), uint64(0)
	server := uint64(lock.TokenAt(2, 0))
	ask := func() *fsm.Request {
		number++
		return &fsm.Request{Incarnation: server, Number: number, Settled: (number - 1) / batch * batch, Hash: number}
	}
	read(m.Apply([]fsm.Log{
		entry(b, 1, fsm.NewCommand(nil, &fsm.FoundCluster{Cluster: testCluster, Level: 1, Policies: fsm.DefaultPolicies(), Classes: fsm.DefaultClasses()})),
		entry(b, 2, fsm.NewCommand(nil, &fsm.Register{Name: "a", Nonce: make([]byte, 16)})),
	}))(b)
	tokens := make([]uint64, profiles)
	for i := range tokens {
		index++
		out := read(m.Apply([]fsm.Log{entry(b, index, fsm.NewCommand(ask(), &fsm.StartSession{Store: "players", Key: fmt.Sprintf("player-%04d", i)}))}))(b)
		tokens[i] = uint64(out[0].Results[0].Token)
	}
	body := bytes.Repeat([]byte("profile "), size/8)
	revisions, next := make([]uint64, profiles), 0
	// made before the clock runs: encoding is the leader's work, not apply's
	prepare := func() []fsm.Log {
		var commands []*fsm.Command
		for range batch {
			i := next % profiles
			next++
			data := binary.BigEndian.AppendUint64(nil, uint64(next))
			data = append(data, body[8:]...)
			hash := sha256.Sum256(data)
			commands = append(commands, fsm.NewCommand(ask(), &fsm.Save{
				Store: "players", Key: fmt.Sprintf("player-%04d", i), Token: tokens[i], Base: revisions[i],
				Data: &fsm.Data{Codec: 1, Hash: hash[:], Size: size, Whole: data},
			}))
			revisions[i]++
		}
		if packed {
			index++
			return []fsm.Log{entry(b, index, commands...)}
		}
		var logs []fsm.Log
		for _, c := range commands {
			index++
			logs = append(logs, entry(b, index, c))
		}
		return logs
	}
	b.ReportAllocs()
	saves := 0
	for b.Loop() {
		b.StopTimer()
		logs := prepare()
		b.StartTimer()
		out := read(m.Apply(logs))(b)
		for _, applied := range out {
			for _, r := range applied.Results {
				if r.Code != fsm.OK {
					b.Fatalf("a save is refused: %+v", r)
				}
				saves++
			}
		}
	}
	b.ReportMetric(float64(saves)/b.Elapsed().Seconds(), "saves/s")
	b.SetBytes(batch * size)
}
