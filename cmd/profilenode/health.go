package main

import (
	"fmt"
	"net/http"
	"net/http/pprof"
	"time"
)

// healthSource is the state of a node that health answers need.
type healthSource interface {
	Ready() <-chan struct{}
	Done() <-chan struct{}
	Err() error
	DiskHang() error
	Leader() (client string, self bool)
}

// newHealth answers /livez: this process is of use, restart it if not; /readyz: send it requests; and /metrics. A node that
// knows no leader is alive, since restarting it would not help, but not ready. With profiles it also serves Go's, which only
// this machine may see.
func newHealth(node healthSource, metrics http.Handler, profiles bool) *http.Server {
	mux := http.NewServeMux()
	writing := 5 * time.Second
	if profiles {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
		writing = 0 // a profile takes as long as was asked for
	}
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { answerProbe(w, checkAlive(node)) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { answerProbe(w, checkReady(node)) })
	mux.Handle("GET /metrics", metrics)
	return &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       5 * time.Second,
		WriteTimeout:      writing,
		MaxHeaderBytes:    16 << 10,
	}
}

func checkAlive(node healthSource) error {
	select {
	case <-node.Done():
		return fmt.Errorf("stopped: %w", node.Err())
	default:
		return nil
	}
}

func checkReady(node healthSource) error {
	if err := checkAlive(node); err != nil {
		return err
	}
	select {
	case <-node.Ready():
	default:
		return fmt.Errorf("not in a cluster yet")
	}
	if err := node.DiskHang(); err != nil {
		return err
	}
	if leader, self := node.Leader(); leader == "" && !self {
		return fmt.Errorf("no leader known")
	}
	return nil
}

func answerProbe(w http.ResponseWriter, err error) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, err)
		return
	}
	fmt.Fprintln(w, "ok")
}
