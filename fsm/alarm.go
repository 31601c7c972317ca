package fsm

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/profilenode/profilenode/lock"
)

// Alarm is one that is kept until an operator clears it.
type Alarm struct {
	Code    string
	Text    string // what is wrong and what to do
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

// CheckAlarmCode says in one sentence what is wrong with the code of an alarm.
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

// raiseAlarm keeps the first of a code: what came first is what an operator must know.
func (t *transaction) raiseAlarm(c *RaiseAlarm) Result {
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

func (t *transaction) clearAlarm(by lock.Incarnation, c *ClearAlarm) Result {
	if CheckAlarmCode(c.Code) != nil {
		return Result{Code: Invalid}
	}
	if _, stands := t.getRow(alarmKey(c.Code)); !stands {
		return Result{Code: Superseded}
	}
	t.deleteRow(alarmKey(c.Code))
	t.addAudit(AuditClearAlarm, by, 0, Audit{Reason: c.Code})
	return Result{}
}

// Alarms lists those that are kept, by code.
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

func expectedKey(address string) []byte { return appendText([]byte{tableExpected}, address) }

// CheckNodeAddress says in one sentence what is wrong with an address that a node is expected at.
func CheckNodeAddress(address string) error {
	colon := strings.LastIndexByte(address, ':')
	port, err := strconv.ParseUint(address[colon+1:], 10, 16)
	if colon < 1 || err != nil || port == 0 {
		return fmt.Errorf("a node's address is host:port, such as 10.0.0.4:7401, not %q", address)
	}
	if len(address) > MaxWhere {
		return fmt.Errorf("a node's address has at most %d bytes, this one has %d", MaxWhere, len(address))
	}
	return CheckKey(address)
}

// expectNodeAt lets a node join from an address.
func (t *transaction) expectNodeAt(by lock.Incarnation, c *ExpectNode) Result {
	if CheckNodeAddress(c.Address) != nil {
		return Result{Code: Invalid}
	}
	if _, known := t.getRow(expectedKey(c.Address)); known {
		return Result{}
	}
	kept := 0
	t.scanRows([]byte{tableExpected}, []byte{tableExpected + 1}, func(_, _ []byte) bool { kept++; return true })
	if kept >= MaxExpected {
		return Result{Code: TooLarge, Limit: MaxExpected}
	}
	t.putRow(expectedKey(c.Address), nil)
	t.addAudit(AuditExpectNode, by, 0, Audit{Reason: c.Address})
	return Result{}
}

// ExpectedNodes lists the addresses that nodes may join from, beside those that are configured, in order.
func (v *View) ExpectedNodes() ([]string, error) {
	r := v.tableReader()
	var list []string
	r.scanRows([]byte{tableExpected}, []byte{tableExpected + 1}, func(key, _ []byte) bool {
		address, _ := splitTextPart(key[1:])
		list = append(list, address)
		return true
	})
	return list, r.err
}
