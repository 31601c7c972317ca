package main

import "testing"

// What an operator does to let a node in, and to clear an alarm.
func TestMembersAndAlarmsCommands(t *testing.T) {
	s := serveOne(t)
	s.ask(t, "", "members").want(t, exitOK, "voter", "yes")
	s.ask(t, "", "members", "add", "10.0.0.4:7401").want(t, exitOK, "10.0.0.4:7401", "expected")
	s.ask(t, "", "members", "--json").want(t, exitOK, `"nodes":"10.0.0.4:7401"`, `"state":"expected"`)
	s.ask(t, "", "members", "add", "10.0.0.4").want(t, exitFailed, "a node's address is host:port")
	s.ask(t, "", "members", "add").want(t, exitUsage, "add takes ADDRESS")
	s.ask(t, "", "members", "remove", "no-such-id").want(t, exitFailed, "0 nodes have an id that begins with", "profilenode members lists them")
	s.ask(t, "", "members", "remove", "").want(t, exitFailed, "hand the leadership over first")
	s.ask(t, "", "members", "transfer").want(t, exitFailed, "hand the lead over", "status shows which nodes could lead")
	s.ask(t, "", "alarms", "clear", "ROLLED_BACK").want(t, exitFailed, "no alarm ROLLED_BACK is kept", "profilenode status")
	s.ask(t, "", "alarms", "clear", "rolled-back").want(t, exitFailed, "capital letters")
	s.ask(t, "", "audit").want(t, exitOK, "expect node")
}
