package nemesis

import (
	"errors"

	"github.com/profilenode/profilenode/internal/groups"
	"github.com/profilenode/profilenode/internal/network"
	"github.com/profilenode/profilenode/scripts/internal/disks"
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
		{"disks", probeDisks, &can.Disks},
		{"groups", func() error { return errors.Join(groups.ProbeCPU(), groups.ProbeFreezer()) }, &can.Groups},
	} {
		if err := one.probe(); err != nil {
			cannot[one.what] = err.Error()
		} else {
			*one.can = true
		}
	}
	return can, cannot
}

func probeDisks() error {
	for _, probe := range []func() error{disks.Probe, disks.ProbeFreeze, disks.ProbeSlow, disks.ProbeReadOnly} {
		if err := probe(); err != nil {
			return err
		}
	}
	return nil
}
