package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// health is one line and an exit code, whatever is wrong, and finds the node by its own configuration.
func TestHealthCommand(t *testing.T) {
	s := serveOne(t)
	free := freeAddresses(t, 3)
	beginServe(t, "--bind-nodes", free[0], "--nodes", free[0]+","+free[1], "--bind-http", free[2]) // the other never comes
	for !listens(free[2]) {
		time.Sleep(10 * time.Millisecond)
	}
	silent := httptest.NewServer(http.NotFoundHandler())
	defer silent.Close()
	for _, c := range []struct {
		name    string
		args    []string
		environ []string
		code    int
		want    string
	}{
		{"Alive", []string{"--http", s.http}, nil, exitOK, "alive\n"},
		{"Ready", []string{"--ready", "--http", s.http}, nil, exitOK, "ready\n"},
		{"ByVariable", []string{"--ready"}, []string{"PROFILENODE_BIND_HTTP=" + s.http}, exitOK, "ready\n"},
		{"Unspecified", []string{"--ready"}, []string{"PROFILENODE_BIND_HTTP=0.0.0.0:" + s.http[strings.LastIndex(s.http, ":")+1:]}, exitOK, "ready\n"},
		{"WaitsAndIsAlive", []string{"--http", free[2]}, nil, exitOK, "alive\n"},
		{"WaitsAndIsNotReady", []string{"--ready", "--http", free[2]}, nil, exitFailed, "profilenode: not ready: not in a cluster yet\n"},
		{"Nobody", []string{"--http", "127.0.0.1:1"}, nil, exitFailed, "profilenode: not alive: no answer: "},
		{"SomethingElse", []string{"--ready", "--http", silent.Listener.Addr().String()}, nil, exitFailed, "profilenode: not ready: 404"},
		{"NoPort", nil, []string{"PROFILENODE_BIND_HTTP="}, exitFailed, "set bind-http"},
		{"BadConfiguration", nil, []string{"PROFILENODE_PING=soon"}, exitFailed, "is not a duration"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			code := runCommandLine(t.Context(), append([]string{"health"}, c.args...), process{strings.NewReader(""), &out, &errs, c.environ})
			got := asked{code, out.String(), errs.String()}
			got.want(t, c.code, c.want)
			if strings.Count(got.out+got.errs, "\n") != 1 {
				t.Errorf("got %q, want one line", got.out+got.errs)
			}
		})
	}
}
