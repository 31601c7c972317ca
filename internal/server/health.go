package server

import (
	"time"

	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/profilenode/profilenode/api/profilev1"
)

// healthReporter keeps gRPC's health service true: a node serves while it is ready and knows a leader.
type healthReporter struct {
	node     Node
	hub      *Hub
	refusals *refusalTable
	service  *health.Server
}

// watchHealth keeps the health service true, and sends the streams elsewhere once this node does not lead any more. A stream
// would find that out at its next renewal; a silent one would not.
func (h *healthReporter) watchHealth(stop <-chan struct{}) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	led := false
	for {
		leader, leads := h.node.Leader()
		if led && !leads {
			h.hub.endAllStreams(&profilev1.StreamEnd{Leader: leader})
		}
		led = leads
		h.setServing(h.isReady() && (leads || leader != ""))
		select {
		case <-tick.C:
		case <-h.node.Done():
			h.setServing(false)
			h.hub.endAllStreams(&profilev1.StreamEnd{Leader: h.refusals.leaderHint()})
			return
		case <-stop:
			return
		}
	}
}

func (h *healthReporter) isReady() bool {
	select {
	case <-h.node.Ready():
		return true
	default:
		return false
	}
}

func (h *healthReporter) setServing(is bool) {
	state := grpc_health_v1.HealthCheckResponse_NOT_SERVING
	if is {
		state = grpc_health_v1.HealthCheckResponse_SERVING
	}
	for _, service := range []string{"", profilev1.Profiles_ServiceDesc.ServiceName, profilev1.Cluster_ServiceDesc.ServiceName} {
		h.service.SetServingStatus(service, state)
	}
}
