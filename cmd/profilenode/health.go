package main

import (
	"fmt"
	"net/http"
	"time"
)

// standing is what the health answers ask of a node.
type standing interface {
	Ready() <-chan struct{}
	Done() <-chan struct{}
	Err() error
	Leader() (client string, self bool)
}

// newHealth answers /livez: this process is of use, restart it if not; and /readyz: send it requests. A node that knows
// no leader is alive, since restarting it would not help, but not ready.
func newHealth(node standing) *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { answer(w, alive(node)) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { answer(w, ready(node)) })
	return &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       5 * time.Second,
		WriteTimeout:      5 * time.Second,
		MaxHeaderBytes:    16 << 10,
	}
}

func alive(node standing) error {
	select {
	case <-node.Done():
		return fmt.Errorf("stopped: %w", node.Err())
	default:
		return nil
	}
}

func ready(node standing) error {
	if err := alive(node); err != nil {
		return err
	}
	select {
	case <-node.Ready():
	default:
		return fmt.Errorf("not in a cluster yet")
	}
	if leader, self := node.Leader(); leader == "" && !self {
		return fmt.Errorf("no leader known")
	}
	return nil
}

func answer(w http.ResponseWriter, err error) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, err)
		return
	}
	fmt.Fprintln(w, "ok")
}
