package groups

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/profilenode/profilenode/internal/nodeproc"
)

// freezeScript freezes the group at $0 until its stdin ends. However this program ends, the kernel closes the pipe, so nothing stays
// frozen on the machine: a frozen process does not see that its parent has ended.
const freezeScript = `echo FROZEN > "$0/freezer.state" || exit 1; echo asked; cat >/dev/null; echo THAWED > "$0/freezer.state"`

// Freeze stops every process of the group, and returns when all stand still. Unlike a process that was sent SIGSTOP they cannot notice
// it, and neither can their parent.
func (g *Group) Freeze() error {
	folder, err := g.openController("freezer", markFreezer)
	if err != nil {
		return err
	}
	if g.frozen != nil {
		return fmt.Errorf("freeze the group %s: it is frozen", g.name)
	}
	if g.frozen, err = nodeproc.StartGuard(freezeScript, folder); err != nil {
		return fmt.Errorf("freeze the group %s: %w", g.name, err)
	}
	state := ""
	for deadline := time.Now().Add(waitLimit); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		text, err := os.ReadFile(filepath.Join(folder, markFreezer))
		if err != nil {
			return errors.Join(err, g.Thaw())
		}
		if state = strings.TrimSpace(string(text)); state == "FROZEN" {
			return nil
		}
	}
	return errors.Join(fmt.Errorf("freeze the group %s: it is %s after %v", g.name, state, waitLimit), g.Thaw())
}

// Thaw lets the processes go on. On a group that is not frozen it does nothing.
func (g *Group) Thaw() error {
	if g.frozen == nil {
		return nil
	}
	frozen := g.frozen
	g.frozen = nil
	return frozen.End()
}
