// Package tcp sets the one option of a connection that package net lacks: how long data may stay unacknowledged before the
// kernel ends the connection (TCP_USER_TIMEOUT). By default Linux retransmits at
// growing intervals for about 15 minutes, so that a cut connection looks alive for as long.
package tcp
