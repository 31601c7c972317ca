// Package tcp sets the one option of a connection that package net lacks: how long data may stay unacknowledged before the
// kernel ends the connection (TCP_USER_TIMEOUT). By itself the kernel repeats ever more rarely, for many minutes.
package tcp
