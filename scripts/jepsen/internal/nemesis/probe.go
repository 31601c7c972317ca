package nemesis

import (
	"github.com/profilenode/profilenode/internal/network"
	"github.com/profilenode/profilenode/scripts/jepsen/internal/clocks"
)

// Probe finds out what this machine can do, and for what it cannot, why.
func Probe() (can Needs, cannot map[string]string) {
	cannot = map[string]string{}
	for _, one := range []struct {
		what  string
		probe func() error
		can   *bool
	}{
		{"hosts", network.Probe, &can.Hosts},
		{"clocks", clocks.Probe, &can.Clocks},
	} {
		if err := one.probe(); err != nil {
			cannot[one.what] = err.Error()
		} else {
			*one.can = true
		}
	}
	return can, cannot
}
