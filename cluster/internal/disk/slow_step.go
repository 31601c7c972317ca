package disk

import (
	"log/slog"
	"time"
)

// slowStepLimit is the duration above which a step of a snapshot is logged. While the applies wait for a step, so do all
// saves.
const slowStepLimit = 50 * time.Millisecond

// TimeStep notes the beginning of a step of a snapshot. The caller calls done at its end, which logs the step if it was
// slow. holdsApplies says that no entry is applied during the step.
func TimeStep(log *slog.Logger, name string, holdsApplies bool) (done func()) {
	began := time.Now()
	return func() {
		if took := time.Since(began); took > slowStepLimit {
			log.Info("a step of a snapshot took long",
				"step", name, "took", took.Round(time.Millisecond), "saves waited", holdsApplies)
		}
	}
}
