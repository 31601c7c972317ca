package sim

import (
	"context"
	"math/rand/v2"
	"net"

	"github.com/profilenode/profilenode/cluster/clustertest"
)

type postman struct{ w *World }

func newPostman(w *World, draw *rand.Rand) *postman { return &postman{w} }
func (p *postman) dial(host clustertest.Host) func(ctx context.Context, addr string) (net.Conn, error) {
	return func(ctx context.Context, addr string) (net.Conn, error) { return host.Dial(ctx, "tcp", addr) }
}
func (p *postman) deliverAll() {}
func (p *postman) close()      {}
