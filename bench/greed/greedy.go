package greed

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/bench/load"
	"github.com/profilenode/profilenode/bench/measure"
	"github.com/profilenode/profilenode/internal/wire"
)

// greedCounts says what the greedy process has done.
type greedCounts struct {
	Connections   uint64 `json:"connections"`   // opened, and left without a word
	Unfinished    uint64 `json:"unfinished"`    // calls that were begun and never ended
	Cancelled     uint64 `json:"cancelled"`     // reads that were given up
	Registrations uint64 `json:"registrations"` // that were taken
	Refused       uint64 `json:"refused"`       // registrations that were not
}

const greedyPause = time.Millisecond

// GreedyCommand is the greedy process: it takes what it can of some nodes until its stdin ends, and then prints what it did.
func GreedyCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "greedy NODE...",
		Short:  "take what can be had of nodes",
		Args:   cobra.MinimumNArgs(1),
		Hidden: true,
		RunE: func(command *cobra.Command, nodes []string) error {
			ctx, stop := context.WithCancel(command.Context())
			go func() {
				_, _ = io.Copy(io.Discard, os.Stdin)
				stop()
			}()
			runtime.GOMAXPROCS(1) // as the busy loop: a burst on all processors at once would be another kind of load
			g := &greedy{nodes: nodes}
			if err := g.run(ctx); err != nil {
				return err
			}
			return json.NewEncoder(os.Stdout).Encode(greedCounts{
				g.connections.Load(), g.unfinished.Load(), g.cancelled.Load(), g.registrations.Load(), g.refused.Load(),
			})
		},
	}
}

type greedy struct {
	nodes                                                      []string
	connections, unfinished, cancelled, registrations, refused atomic.Uint64
}

func (g *greedy) run(ctx context.Context) error {
	var links []*wire.Link
	for _, node := range g.nodes {
		link, err := wire.Connect(node, wire.BoundLinks())
		if err != nil {
			return err
		}
		defer link.Close()
		links = append(links, link)
	}
	var greeds sync.WaitGroup
	for i, node := range g.nodes {
		greeds.Go(func() { g.openConnections(ctx, node) })
		greeds.Go(func() { g.beginCalls(ctx, node) })
		for range 8 {
			greeds.Go(func() { g.cancelReads(ctx, profilev1.NewProfilesClient(links[i].Conn())) })
		}
		greeds.Go(func() { g.register(ctx, profilev1.NewProfilesClient(links[i].Conn())) })
	}
	greeds.Wait()
	return nil
}

// openConnections opens connections and keeps them all.
func (g *greedy) openConnections(ctx context.Context, node string) {
	var kept []net.Conn
	defer func() {
		for _, c := range kept {
			_ = c.Close()
		}
	}()
	for ctx.Err() == nil {
		c, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", node)
		if err != nil {
			measure.Sleep(ctx, 100*greedyPause) // this process has no more files, or the node takes no more
			continue
		}
		kept = append(kept, c)
		g.connections.Add(1)
		measure.Sleep(ctx, greedyPause)
	}
}

// beginCalls begins messages of 5 MiB, as many as one connection takes, and leaves out the last byte of each; then on another one.
func (g *greedy) beginCalls(ctx context.Context, node string) {
	for ctx.Err() == nil {
		if err := g.beginCallsOnce(ctx, node); err != nil {
			measure.Sleep(ctx, 10*greedyPause)
		}
	}
}

func (g *greedy) beginCallsOnce(ctx context.Context, node string) error {
	c, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", node)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	if _, err := c.Write([]byte(http2.ClientPreface)); err != nil {
		return err
	}
	framer := http2.NewFramer(c, c)
	if err := framer.WriteSettings(); err != nil {
		return err
	}
	var room atomic.Int64 // of the connection's window
	room.Store(65535)
	go func() {
		defer func() { _ = c.Close() }()
		for {
			frame, err := framer.ReadFrame()
			if err != nil {
				return
			}
			if w, ok := frame.(*http2.WindowUpdateFrame); ok && w.StreamID == 0 {
				room.Add(int64(w.Increment))
			}
		}
	}()
	var block bytes.Buffer
	headers := hpack.NewEncoder(&block)
	piece := make([]byte, 16<<10)
	for stream := uint32(1); stream < 2*1024; stream += 2 {
		block.Reset()
		for _, field := range [][2]string{
			{":method", "POST"}, {":scheme", "http"}, {":path", profilev1.Profiles_Send_FullMethodName}, {":authority", "node"},
			{"content-type", "application/grpc"}, {"te", "trailers"}, {profilev1.BytesKey, strconv.Itoa(5 << 20)},
		} {
			if err := headers.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}); err != nil {
				return err
			}
		}
		if err := framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndHeaders: true}); err != nil {
			return err
		}
		g.unfinished.Add(1)
		head := append([]byte{0}, 0, 0x50, 0, 0) // 5 MiB
		if err := framer.WriteData(stream, false, head); err != nil {
			return err
		}
		for sent := 0; sent < 60<<10 && room.Load() > int64(len(piece)); sent += len(piece) { // a stream's own window is 64 KiB at first
			room.Add(-int64(len(piece)))
			if err := framer.WriteData(stream, false, piece); err != nil {
				return err
			}
		}
		measure.Sleep(ctx, greedyPause)
	}
	<-ctx.Done()
	return ctx.Err()
}

// cancelReads reads, and gives each read up after some milliseconds at most.
func (g *greedy) cancelReads(ctx context.Context, node profilev1.ProfilesClient) {
	for ctx.Err() == nil {
		call, cancel := context.WithTimeout(ctx, time.Duration(mathrand.Int64N(int64(5*time.Millisecond))))
		if _, err := node.Get(call, &profilev1.GetRequest{Store: "healthy", Key: load.Key(mathrand.Uint64N(sessionCount))}); err != nil {
			g.cancelled.Add(1)
		}
		cancel()
		measure.Sleep(ctx, greedyPause)
	}
}

// register registers game servers that do nothing.
func (g *greedy) register(ctx context.Context, node profilev1.ProfilesClient) {
	for ctx.Err() == nil {
		nonce := make([]byte, 16)
		_, _ = rand.Read(nonce)
		call, cancel := context.WithTimeout(ctx, 10*time.Second)
		_, err := node.Register(call, &profilev1.RegisterRequest{
			Name: fmt.Sprintf("greedy-%x", nonce), Nonce: nonce, Kind: profilev1.ServerKind_SERVER_KIND_GAME_SERVER,
		})
		cancel()
		if err != nil {
			g.refused.Add(1)
		} else {
			g.registrations.Add(1)
		}
		measure.Sleep(ctx, greedyPause)
	}
}
