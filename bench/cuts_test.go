package main

import (
	"testing"
	"time"

	"github.com/profilenode/profilenode/internal/nodeproc"
)

// The bound of the benchmark times three: this machine may be busy with other tests.
func TestGameServersSaveAgainSoonAfterANetworkCut(t *testing.T) {
	if testing.Short() {
		t.Skip("it cuts for up to 37 s")
	}
	f, err := openHostSwitch(1)
	if err != nil {
		t.Skipf("no namespaces here, so nothing can be cut: %v", err)
	}
	f.closeAll()
	c := cutsOptions{which: []string{"servers"}, lengths: []time.Duration{2 * time.Second, 16 * time.Second, 37 * time.Second}, lanes: 3}
	trials, err := c.makeTrials()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if c.program, err = nodeproc.Build(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if err := c.runTrials(t.Context(), dir, trials, t.Output()); err != nil {
		t.Fatal(err)
	}
	if err := checkCutGoals(trials, 3*cutGoal); err != nil {
		t.Error(err)
	}
}
