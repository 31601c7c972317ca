package main

import (
	"strings"
	"testing"

	pb "github.com/profilenode/profilenode/api/profilev1"
)

// What status shows of a node's alarms: code, time and text of each, and notices apart from alarms.
func TestStatusShowsAlarmsAndNoticesByCode(t *testing.T) {
	alarms := []*pb.Alarm{
		{Code: "DISK_LOW", Text: "free some space", SinceMs: 1000},
		{Code: "WAS_DOWN", Text: "nothing to do", SinceMs: 2000, Notice: true},
	}
	var out strings.Builder
	printAlarms(process{out: &out}, &nodeStatus{status: &pb.StatusResponse{Id: "0123456789", Alarms: alarms}})
	want := "alarm DISK_LOW at 01234567 since 1970-01-01T00:00:01.000Z: free some space\n" +
		"notice WAS_DOWN at 01234567 since 1970-01-01T00:00:02.000Z: nothing to do\n"
	if out.String() != want {
		t.Errorf("status prints %q, want %q", out.String(), want)
	}
	shapes, notices := alarmsToJSON(alarms)
	if len(shapes) != 1 || shapes[0] != (alarmJSON{"DISK_LOW", "free some space", "1970-01-01T00:00:01.000Z"}) {
		t.Errorf("status --json has the alarms %v", shapes)
	}
	if len(notices) != 1 || notices[0].Code != "WAS_DOWN" {
		t.Errorf("status --json has the notices %v", notices)
	}
}
