package server_test

import (
	"bytes"
	"crypto/sha256"
	"testing"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/internal/server"
	"github.com/profilenode/profilenode/lock"
)

// A client that starts anew takes over its own name at once, when it shows that it is the process that had it.
func TestAProcessThatRegistersAnewKeepsItsName(t *testing.T) {
	w, _ := fake(t, server.Limits{})
	a := w.register("a")
	nonce := sha256.Sum256([]byte("a"))
	q := &profilev1.RegisterRequest{Name: "a", Nonce: bytes.Repeat([]byte{5}, 16), Cluster: fakeCluster, Replaces: a.id}
	_, err := w.profiles.Register(soon(t), q)
	wantReason(t, err, profilev1.Reason_REASON_NAME_HELD)
	q.ReplacedRegistration = lock.Registration(nonce[:])
	if _, err := w.profiles.Register(soon(t), q); err != nil {
		t.Errorf("with its old registration: %v", err)
	}
}
