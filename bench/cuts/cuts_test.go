package cuts

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/profilenode/profilenode/bench/testbed"
	"github.com/profilenode/profilenode/internal/network"
	"github.com/profilenode/profilenode/internal/nodeproc"
)

// TestMain runs this binary as a game server where the test below starts it as one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "game-server" {
		command := testbed.GameServerCommand()
		command.SetArgs(os.Args[2:])
		if command.Execute() != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// The goal of the benchmark times three: this machine may be busy with other tests.
func TestGameServersSaveAgainSoonAfterANetworkCut(t *testing.T) {
	if testing.Short() {
		t.Skip("it cuts for up to 37 s")
	}
	s, err := network.OpenSwitch(1)
	if err != nil {
		t.Skipf("no namespaces here, so nothing can be cut: %v", err)
	}
	s.Close()
	o := options{kinds: []string{"servers"}, lengths: []time.Duration{2 * time.Second, 16 * time.Second, 37 * time.Second}, lanes: 3}
	trials, err := o.makeTrials()
	if err != nil {
		t.Fatal(err)
	}
	r := &testbed.Run{Folder: t.TempDir(), Notes: t.Output()}
	if r.Program, err = nodeproc.Build(t.Context(), r.Folder); err != nil {
		t.Fatal(err)
	}
	if err := o.runTrials(t.Context(), r, trials); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join((&report{Trials: trials, goal: 3 * goal}).Faults()...); err != nil {
		t.Error(err)
	}
}

func TestFaults(t *testing.T) {
	for want, one := range map[string]trial{
		"":                       {Dropped: 9, Recovered: []time.Duration{goal}},
		"interrupted":            {Dropped: 9, Fault: "interrupted"},
		"nothing was cut":        {Recovered: []time.Duration{1}},
		"2 sessions were lost":   {Dropped: 9, Lost: 2},
		"saved again only after": {Dropped: 9, Recovered: []time.Duration{1, goal + 1}},
	} {
		err := errors.Join((&report{Trials: []*trial{&one}, goal: goal}).Faults()...)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
