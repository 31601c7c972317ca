// Package deploy holds the tests of what is shipped in this folder: image, compose files, configuration, systemd unit, alert rules
// and dashboard. README.md in it has the tasks of an operator.
package deploy
