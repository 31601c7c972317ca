package main

import (
	"testing"
	"time"
)

// The bound of the benchmark times three: this machine may be busy with other tests.
func TestGameServersSaveAgainSoonAfterANetworkCut(t *testing.T) {
	if testing.Short() {
		t.Skip("it cuts for up to 37 s")
	}
	f, err := openFabric(1)
	if err != nil {
		t.Skipf("no namespaces here, so nothing can be cut: %v", err)
	}
	f.close()
	c := cuts{which: []string{"servers"}, lengths: []time.Duration{2 * time.Second, 16 * time.Second, 37 * time.Second}, lanes: 3}
	trials, err := c.trials()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if c.program, err = build(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if err := c.tryAll(t.Context(), dir, trials, t.Output()); err != nil {
		t.Fatal(err)
	}
	if err := judgeCuts(trials, 3*cutGoal); err != nil {
		t.Error(err)
	}
}
