package fsm

import (
	"fmt"
	"strings"
	"time"

	"github.com/profilenode/profilenode/fsm/logpb"
	"github.com/profilenode/profilenode/lock"
)

// DefaultClass is the timing class of a registration that names none. FoundCluster writes it.
const DefaultClass = "default"

// TimingClass is a named set of times that game servers register with. A change does not affect registered incarnations:
// each has a copy in its row, since its game server counts with the times that its registration returned.
type TimingClass struct {
	Name string
	lock.Timing
}

// DefaultClasses returns the timing classes that FoundCluster writes.
func DefaultClasses() []*SetTimingClass {
	return []*SetTimingClass{ClassOf(TimingClass{DefaultClass, lock.DefaultTiming()})}
}

// ClassOf returns the command that sets a class.
func ClassOf(c TimingClass) *SetTimingClass {
	return &SetTimingClass{
		Name: c.Name, RenewMs: c.Renew.Milliseconds(), DoubtMs: c.Doubt.Milliseconds(), EvidenceMs: c.Evidence.Milliseconds(),
		LeaseMs: c.Lease.Milliseconds(), HandOffMs: c.HandOff.Milliseconds(),
	}
}

// CheckClassName reports in one sentence why a class's name is invalid.
func CheckClassName(name string) error {
	if CheckStore(name) != nil {
		return fmt.Errorf("a timing class's name has 1 to %d letters, digits, '_', '-' and '.', %q has not", MaxStore, name)
	}
	return nil
}

// CheckClass reports why the times of a class are invalid, before it is proposed and again in apply.
func CheckClass(c *SetTimingClass) error {
	timing := timingOfCommand(c)
	return timing.Validate()
}

// timingOfCommand returns the times of a command. A time that would overflow becomes one above lock.MostTiming, which
// Validate refuses.
func timingOfCommand(c *SetTimingClass) lock.Timing {
	duration := func(ms int64) time.Duration {
		const most = int64(lock.MostTiming/time.Millisecond) + 1
		return time.Duration(max(-1, min(ms, most))) * time.Millisecond
	}
	return lock.Timing{
		Renew: duration(c.RenewMs), Doubt: duration(c.DoubtMs), Evidence: duration(c.EvidenceMs), Lease: duration(c.LeaseMs),
		HandOff: duration(c.HandOffMs),
	}
}

func classKey(name string) []byte { return appendText([]byte{tableClass}, name) }

func (w *rowWriter) writeTiming(t lock.Timing) {
	for _, d := range [...]time.Duration{t.Renew, t.Doubt, t.Evidence, t.Lease, t.HandOff} {
		w.writeInt(d.Milliseconds())
	}
}

func (r *rowReader) readTiming() lock.Timing {
	duration := func() time.Duration { return time.Duration(r.readInt()) * time.Millisecond }
	return lock.Timing{Renew: duration(), Doubt: duration(), Evidence: duration(), Lease: duration(), HandOff: duration()}
}

func decodeClass(name string, row []byte) (TimingClass, error) {
	f := newRowReader(row)
	c := TimingClass{Name: name, Timing: f.readTiming()}
	return c, f.finishRow(tableClass)
}

// readClass reads the timing class of a name, or for "" the default one.
func (r *tableReader) readClass(name string) (TimingClass, bool) {
	if name == "" {
		name = DefaultClass
	}
	if strings.ContainsRune(name, 0) {
		return TimingClass{}, false
	}
	row, ok := r.getRow(classKey(name))
	if !ok {
		return TimingClass{}, false
	}
	c, err := decodeClass(name, row)
	r.noteError(err)
	return c, r.err == nil
}

func (r *tableReader) readClasses() []TimingClass {
	var list []TimingClass
	r.scanRows([]byte{tableClass}, []byte{tableClass + 1}, func(key, row []byte) bool {
		name, _ := splitTextPart(key[1:])
		c, err := decodeClass(name, row)
		r.noteError(err)
		list = append(list, c)
		return true
	})
	return list
}

// setTimingClass is an operator's: it creates a class, or changes it for later registrations.
func (t *clusterTable) setTimingClass(by lock.Incarnation, c *logpb.SetTimingClass) Result {
	done := t.putTimingClass(c)
	if done.Code == OK {
		to := fmt.Sprintf("%s: renew %d, doubt %d, evidence %d, lease %d, hand-off %d ms",
			c.Name, c.RenewMs, c.DoubtMs, c.EvidenceMs, c.LeaseMs, c.HandOffMs)
		t.audits.addAudit(AuditSetTimingClass, by, 0, Audit{Reason: to})
	}
	return done
}

func (t *clusterTable) putTimingClass(c *logpb.SetTimingClass) Result {
	if CheckClassName(c.Name) != nil || CheckClass(c) != nil {
		return Result{Code: Invalid}
	}
	key := classKey(c.Name)
	if !t.hasRow(key) && len(t.readClasses()) >= MaxClasses {
		return Result{Code: TooLarge, Limit: MaxClasses}
	}
	w := newRowWriter(24)
	w.writeTiming(timingOfCommand(c))
	t.putRow(key, w)
	return Result{}
}

// TimingClasses lists the classes by name.
func (v *View) TimingClasses() ([]TimingClass, error) {
	r := v.tableReader()
	list := r.readClasses()
	return list, r.err
}
