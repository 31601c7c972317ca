package disk

import (
	"log/slog"
	"time"
)

// slowStepLimit is how long a step beside or between the applies may take before it is logged. Steps that the applies wait
// for shows in every save.
const slowStepLimit = 50 * time.Millisecond

// TimeStep begins a step of a snapshot; done ends it, and logs one that took long. holdsApplies says that no entry is applied meanwhile.
func TimeStep(log *slog.Logger, name string, holdsApplies bool) (done func()) {
	began := time.Now()
	return func() {
		if took := time.Since(began); took > slowStepLimit {
			log.Info("a step of a snapshot took long", "step", name, "took", took.Round(time.Millisecond), "saves waited", holdsApplies)
		}
	}
}
