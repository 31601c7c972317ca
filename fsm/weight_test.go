package fsm_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

// heavy fills tables with what makes commands heavy.
type heavy struct {
	t       testing.TB
	m       *fsm.Machine
	index   uint64
	numbers map[uint64]uint64
}

func newHeavy(t testing.TB) *heavy {
	h := &heavy{t: t, m: open(t, vfs.NewMem()), numbers: map[uint64]uint64{}}
	h.apply(fsm.NewCommand(nil, &fsm.FoundCluster{Cluster: testCluster, Level: 1, Policies: fsm.DefaultPolicies(), Classes: fsm.DefaultClasses()}))
	return h
}

func (h *heavy) apply(commands ...*fsm.Command) []fsm.Result {
	h.t.Helper()
	h.index++
	out := read(h.m.Apply([]fsm.Log{entry(h.t, h.index, commands...)}))(h.t)
	for i, r := range out[0].Results {
		if r.Code != fsm.OK && r.Code != fsm.Queued {
			h.t.Fatalf("%v became %s", commands[i], codeNames[r.Code])
		}
	}
	return out[0].Results
}

// weigh is what a command would cost now, the quickest of some times.
func (h *heavy) weigh(c *fsm.Command) (w fsm.Weight) {
	h.t.Helper()
	for i := range 5 {
		again := read(h.m.Weigh(entry(h.t, h.index+1, c)))(h.t)
		if i == 0 || again.Took < w.Took {
			w = again
		}
	}
	return w
}

func (h *heavy) server(name string) uint64 {
	nonce := make([]byte, 16) // the registration, its head, is 0
	copy(nonce[8:], name)
	return uint64(h.apply(fsm.NewCommand(nil, &fsm.Register{Name: name, Nonce: nonce}))[0].Token)
}

func (h *heavy) servers(n int) (ids []uint64) {
	for i := range n {
		ids = append(ids, h.server(fmt.Sprint("gs-", i)))
	}
	return ids
}

// ask is a request whose predecessors are settled.
func (h *heavy) ask(server uint64, act any) *fsm.Command {
	h.numbers[server]++
	n := h.numbers[server]
	return fsm.NewCommand(&fsm.Request{Incarnation: server, Number: n, Settled: n - 1, Hash: n}, act)
}

func (h *heavy) start(server uint64, key string) uint64 {
	return uint64(h.apply(h.ask(server, &fsm.StartSession{Store: "players", Key: key}))[0].Token)
}

// wait puts many waiters into the queues of profiles that one game server owns.
func (h *heavy) wait(owner uint64, profiles int, waiters []uint64) {
	for p := range profiles {
		key := fmt.Sprint("p", p)
		h.start(owner, key)
		var commands []*fsm.Command
		for _, w := range waiters {
			commands = append(commands, h.ask(w, &fsm.StartSession{Store: "players", Key: key}))
		}
		h.apply(commands...)
	}
}

// messages queues as many messages as one save may mark, of the largest size.
func (h *heavy) messages(from uint64, key string) (ids []uint64) {
	h.apply(h.ask(from, &fsm.SetPolicy{Name: fsm.PolicyMaxMessages, Value: 2 * fsm.MaxMarks}))
	h.apply(h.ask(from, &fsm.SetPolicy{Name: fsm.PolicyMaxMessageBytes, Value: 2 * fsm.MaxMarks * fsm.MaxMessage}))
	body := bytes.Repeat([]byte("x"), fsm.MaxMessage)
	for range fsm.MaxMarks {
		ids = append(ids, h.apply(h.ask(from, &fsm.Send{Store: "players", Key: key, Body: body}))[0].Message)
	}
	return ids
}

// What one command writes is bounded, whatever there is: some thousand small rows, or 4 MiB, which take well under 50 ms. The
// test says how long; what it wants is counts, since its machine may have other work.
func TestNoCommandIsTooHeavy(t *testing.T) {
	const rows = 5000
	for _, test := range []struct {
		name   string
		rows   int
		bytes  int
		ranges int
		heavy  func(h *heavy) *fsm.Command
	}{
		{"a release that counts panics of many messages", 30, 64 << 10, 1, func(h *heavy) *fsm.Command {
			s := h.server("gs")
			release := &fsm.Release{Store: "players", Key: "p", Token: h.start(s, "p")}
			for _, id := range h.messages(s, "p")[:fsm.MaxCounted] {
				release.Panics = append(release.Panics, &fsm.MessagePanic{Message: id, Text: strings.Repeat("x", fsm.MaxPanicText)})
			}
			return h.ask(s, release)
		}},
		{"a save that clears all messages", 2*fsm.MaxMarks + 10, 256 << 10, 1, func(h *heavy) *fsm.Command {
			s := h.server("gs")
			token := h.start(s, "p")
			return h.ask(s, &fsm.Save{Store: "players", Key: "p", Token: token, Data: data("x"), ClearMessages: h.messages(s, "p")})
		}},
		{"the removal of a profile with many messages", 20, 64 << 10, 2, func(h *heavy) *fsm.Command {
			s := h.server("gs")
			h.apply(h.ask(s, &fsm.Set{Store: "players", Key: "p", Data: data("x")}))
			h.messages(s, "p")
			return h.ask(s, &fsm.Remove{Store: "players", Key: "p", Expected: 1, DropMessages: true})
		}},
		{"a save in parts", 20, fsm.MaxData + 64<<10, 1, func(h *heavy) *fsm.Command {
			s := h.server("gs")
			token := h.start(s, "p")
			whole := bytes.Repeat([]byte("large data "), fsm.MaxData/11+1)[:fsm.MaxData]
			hash := sha256.Sum256(whole)
			save := h.ask(s, &fsm.Save{Store: "players", Key: "p", Token: token, Data: &fsm.Data{Hash: hash[:], Size: fsm.MaxData, Parts: fsm.MaxData / fsm.PartBytes}})
			for i := range uint32(fsm.MaxData / fsm.PartBytes) {
				h.apply(fsm.NewCommand(save.Request, &fsm.PutPart{Part: i, Bytes: whole[i*fsm.PartBytes : (i+1)*fsm.PartBytes]}))
			}
			return save
		}},
		{"a request that settles a whole window", fsm.Window + 20, 256 << 10, 1, func(h *heavy) *fsm.Command {
			s := h.server("gs")
			for range fsm.Window {
				c := h.ask(s, &fsm.Settle{})
				c.Request.Settled = 0
				read(h.m.Apply([]fsm.Log{entry(t, h.index+1, c)}))(t)
				h.index++
			}
			return h.ask(s, &fsm.Send{Store: "players", Key: "p"})
		}},
		{"a step of a walk where many wait", 80, 64 << 10, 0, func(h *heavy) *fsm.Command {
			s := h.servers(1001)
			h.apply(h.ask(s[0], &fsm.SetPolicy{Name: fsm.PolicyMaxWaiters, Value: 1000}))
			h.wait(s[0], 8, s[1:])
			h.apply(h.ask(s[0], &fsm.EndServer{}))
			return fsm.NewCommand(nil, &fsm.GrantToWaiters{Incarnation: s[0], Limit: 64})
		}},
		{"a step of a walk where few wait", rows, 1 << 20, 0, func(h *heavy) *fsm.Command {
			s := h.servers(65)
			h.wait(s[0], 64, s[1:])
			h.apply(h.ask(s[0], &fsm.EndServer{}))
			return fsm.NewCommand(nil, &fsm.GrantToWaiters{Incarnation: s[0], Limit: 64})
		}},
		{"expiries on many", 10*fsm.MaxExpiries + 10, 1 << 20, 0, func(h *heavy) *fsm.Command {
			var verdicts []*fsm.Expiry
			for i, s := range h.servers(fsm.MaxExpiries) {
				h.start(s, fmt.Sprint("p", i))
				verdicts = append(verdicts, &fsm.Expiry{Incarnation: s, Last: uint64(lock.TokenAt(h.index, 0))})
			}
			return fsm.NewCommand(nil, &fsm.ExpireServers{Term: 1, Expiries: verdicts})
		}},
		{"expiries on many while both rings of the audit are full and old", 11*fsm.MaxExpiries + 10, 1 << 20, 0, func(h *heavy) *fsm.Command {
			nonce := append(make([]byte, 8), "--tool--"...)
			tool := uint64(h.apply(fsm.NewCommand(nil, &fsm.Register{Name: "tool", Kind: 1, Nonce: nonce}))[0].Token)
			for _, by := range []uint64{h.server("setter"), tool} {
				for range fsm.MaxAudits / 1000 {
					var commands []*fsm.Command
					for range 1000 {
						commands = append(commands, h.ask(by, &fsm.Set{Store: "players", Key: "p", AnyRevision: true, Data: data("x")}))
					}
					h.apply(commands...)
				}
			}
			var verdicts []*fsm.Expiry
			for _, s := range h.servers(fsm.MaxExpiries) {
				verdicts = append(verdicts, &fsm.Expiry{Incarnation: s, Last: s})
			}
			h.index += 2 * uint64(fsm.MaxAuditAge.Seconds()) // an entry has a timestamp of a second for each index
			return fsm.NewCommand(nil, &fsm.ExpireServers{Term: 1, Expiries: verdicts})
		}},
		{"reclaiming many", 10 * fsm.MaxClaims, 1 << 20, 0, func(h *heavy) *fsm.Command {
			s := h.servers(2)
			reclaim := &fsm.Reclaim{}
			for i := range fsm.MaxClaims {
				key := fmt.Sprint("p", i)
				reclaim.Claims = append(reclaim.Claims, &fsm.Claim{Store: "players", Key: key, Token: h.start(s[0], key)})
				h.apply(h.ask(s[1], &fsm.Send{Store: "players", Key: key}))
			}
			h.apply(h.ask(s[0], &fsm.EndServer{}))
			return h.ask(s[1], reclaim)
		}},
		{"forgetting many", 5*fsm.MaxStep + 10, 1 << 20, 0, func(h *heavy) *fsm.Command {
			for _, s := range h.servers(fsm.MaxStep + 1) {
				h.apply(h.ask(s, &fsm.EndServer{}))
			}
			h.apply(fsm.NewCommand(nil, &fsm.CountMinute{}))
			return fsm.NewCommand(nil, &fsm.ForgetEnded{NothingLeftBefore: 1, Limit: math.MaxUint32})
		}},
		{"forgetting many that left many answers", 6 * fsm.Window, 1 << 20, 0, func(h *heavy) *fsm.Command {
			for _, s := range h.servers(8) {
				var commands []*fsm.Command
				for i := range fsm.Window - 1 {
					c := h.ask(s, &fsm.Send{Store: "players", Key: fmt.Sprint("p", i)})
					c.Request.Settled = 0
					commands = append(commands, c)
				}
				end := h.ask(s, &fsm.EndServer{})
				end.Request.Settled = 0
				h.apply(append(commands, end)...)
			}
			h.apply(fsm.NewCommand(nil, &fsm.CountMinute{}))
			return fsm.NewCommand(nil, &fsm.ForgetEnded{Before: 1, Limit: math.MaxUint32})
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHeavy(t)
			defer func() { must(t, h.m.Close()) }()
			w := h.weigh(test.heavy(h))
			t.Logf("%s: %d rows of %d bytes in %v", codeNames[w.Result.Code], w.Rows, w.Bytes, w.Took)
			if w.Result.Code != fsm.OK {
				t.Errorf("became %s", codeNames[w.Result.Code])
			}
			if w.Ranges > test.ranges {
				t.Errorf("it deletes %d ranges, behind which reading is slow, want at most %d", w.Ranges, test.ranges)
			}
			if w.Rows > test.rows || w.Bytes > test.bytes {
				t.Errorf("it writes %d rows of %d bytes, want at most %d of %d", w.Rows, w.Bytes, test.rows, test.bytes)
			}
		})
	}
}
