package fsm

import (
	"fmt"
	"unicode/utf8"

	"github.com/profilenode/profilenode/lock"
)

// Alarm is an alarm that is kept until an operator clears it.
type Alarm struct {
	Code    string
	Text    string // the fault and the remedy
	SinceMS int64  // timestamp of the entry that raised it
}

func (a Alarm) encode() []byte {
	w := newRowWriter(16 + len(a.Text))
	w.writeString(a.Text)
	w.writeInt(a.SinceMS)
	return w
}

func decodeAlarm(code string, row []byte) (Alarm, error) {
	f := newRowReader(row)
	a := Alarm{Code: code, Text: f.readString(), SinceMS: f.readInt()}
	return a, f.finishRow(tableAlarm)
}

func alarmKey(code string) []byte { return appendText([]byte{tableAlarm}, code) }

// CheckAlarmCode reports in one sentence why an alarm's code is invalid.
func CheckAlarmCode(code string) error {
	if code == "" || len(code) > MaxAlarmCode {
		return fmt.Errorf("the code of an alarm has 1 to %d characters, this one has %d", MaxAlarmCode, len(code))
	}
	for _, c := range []byte(code) {
		if (c < 'A' || c > 'Z') && c != '_' {
			return fmt.Errorf("the code of an alarm is made of capital letters and '_', not %q", c)
		}
	}
	return nil
}

// alarmTable holds the alarms that are kept until an operator clears them.
type alarmTable struct {
	*tableWriter
	audits *auditTable
}

// raiseAlarm keeps the first alarm of a code: the operator needs the time and text of the first one.
func (t *alarmTable) raiseAlarm(c *RaiseAlarm) Result {
	if CheckAlarmCode(c.Code) != nil || len(c.Text) > MaxAlarmText || !utf8.ValidString(c.Text) {
		return Result{Code: Invalid}
	}
	if _, stands := t.getRow(alarmKey(c.Code)); stands {
		return Result{Code: Superseded}
	}
	kept := 0
	t.scanRows([]byte{tableAlarm}, []byte{tableAlarm + 1}, func(_, _ []byte) bool { kept++; return true })
	if kept >= MaxAlarms {
		return Result{Code: TooLarge, Limit: MaxAlarms}
	}
	t.putRow(alarmKey(c.Code), Alarm{Text: c.Text, SinceMS: t.position.StampMS}.encode())
	return Result{}
}

func (t *alarmTable) clearAlarm(by lock.Incarnation, c *ClearAlarm) Result {
	if CheckAlarmCode(c.Code) != nil {
		return Result{Code: Invalid}
	}
	if _, stands := t.getRow(alarmKey(c.Code)); !stands {
		return Result{Code: Superseded}
	}
	t.deleteRow(alarmKey(c.Code))
	t.audits.addAudit(AuditClearAlarm, by, 0, Audit{Reason: c.Code})
	return Result{}
}

// Alarms lists the kept alarms, by code.
func (v *View) Alarms() ([]Alarm, error) {
	r := v.tableReader()
	var list []Alarm
	r.scanRows([]byte{tableAlarm}, []byte{tableAlarm + 1}, func(key, row []byte) bool {
		code, _ := splitTextPart(key[1:])
		a, err := decodeAlarm(code, row)
		r.noteError(err)
		list = append(list, a)
		return true
	})
	return list, r.err
}
