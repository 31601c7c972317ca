package main

import (
	"fmt"

	pb "github.com/profilenode/profilenode/api/profilev1"
)

// printAlarms writes a line for each alarm and each notice of a node.
func printAlarms(p process, s *nodeStatus) {
	for _, alarm := range s.status.GetAlarms() {
		kind := "alarm"
		if alarm.GetNotice() {
			kind = "notice"
		}
		fmt.Fprintf(p.out, "%s %s at %s since %s: %s\n", kind, escapeUnprintable(alarm.GetCode()), abbreviateID(s.nodeID()),
			formatTime(alarm.GetSinceMs()), escapeUnprintable(alarm.GetText()))
	}
}

type alarmJSON struct {
	Code  string `json:"code"`
	Text  string `json:"text"`
	Since string `json:"since"`
}

// alarmsToJSON are a node's alarms and its notices, apart from each other.
func alarmsToJSON(all []*pb.Alarm) (alarms, notices []alarmJSON) {
	alarms, notices = []alarmJSON{}, []alarmJSON{} // printed as lists, also when there are none
	for _, alarm := range all {
		shape := alarmJSON{alarm.GetCode(), alarm.GetText(), formatTime(alarm.GetSinceMs())}
		if alarm.GetNotice() {
			notices = append(notices, shape)
		} else {
			alarms = append(alarms, shape)
		}
	}
	return alarms, notices
}
