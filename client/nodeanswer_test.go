package client

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/profilenode/profilenode/internal/wire"
)

// logLines is a log that a test reads while it is written.
type logLines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// If a game server does not come up the cause is plain: the error and the log give the answer of each address.
func TestOpenWithoutAClusterSaysWhatEachAddressAnswered(t *testing.T) {
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		return l
	}
	closed := listen()
	_ = closed.Close()
	mute := listen() // the kernel accepts for it, and nothing answers
	web := listen()
	server := &http.Server{Handler: http.NotFoundHandler()}
	go func() { _ = server.Serve(web) }()
	defer server.Close()

	log := &logLines{}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	_, err := Open(ctx, Config{
		Seeds: []string{closed.Addr().String(), mute.Addr().String(), web.Addr().String()}, NoPing: true,
		Log: slog.New(slog.NewTextHandler(log, nil)),
	})
	var e *Error
	if !errors.Is(err, ErrUnavailable) || !errors.As(err, &e) {
		t.Fatalf("got %v, want %v", err, ErrUnavailable)
	}
	want := map[string]wire.Problem{
		closed.Addr().String(): wire.RefusedConnection, mute.Addr().String(): wire.Silent, web.Addr().String(): wire.SpeaksHTTP,
	}
	for _, a := range e.Nodes {
		var connect *wire.ConnectError
		if !errors.As(a.Err, &connect) || connect.Problem != want[a.Address] {
			t.Errorf("%s answered %v, want problem %d", a.Address, a.Err, want[a.Address])
		}
		if !strings.Contains(err.Error(), a.Address+": "+a.Err.Error()) {
			t.Errorf("the error does not tell of %s: %v", a.Address, err)
		}
		delete(want, a.Address)
	}
	for address := range want {
		t.Errorf("nothing is said of %s", address)
	}
	for _, line := range []string{"a node cannot be reached", "this game server is not registered yet", "connection refused"} {
		if !strings.Contains(log.String(), line) {
			t.Errorf("the log does not say %q:\n%s", line, log)
		}
	}
	for _, address := range []string{closed.Addr().String(), mute.Addr().String(), web.Addr().String()} {
		if n := strings.Count(log.String(), `"a node cannot be reached" node=`+address); n != 1 {
			t.Errorf("the log says %d times that %s cannot be reached, want once:\n%s", n, address, log)
		}
	}
}
