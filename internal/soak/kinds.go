//go:build unix

package main

import "time"

// kind is a kind of fault.
type kind string

const (
	kill  kind = "kill"
	term  kind = "term"
	stop  kind = "stop"
	lost  kind = "lost"
	fail  kind = "fail"
	slow  kind = "slow"
	late  kind = "late"
	reset kind = "reset"
	cut   kind = "cut"
	hole  kind = "hole"
	crash kind = "crash"
)

type kindOf struct {
	name  kind
	every time.Duration
	what  string
}

var kinds = []kindOf{
	{kill, 20 * time.Second, "kill -9 of an instance (never of the first of several, whose memory is watched)"},
	{term, 45 * time.Second, "graceful restart of an instance, by SIGTERM (likewise)"},
	{stop, 30 * time.Second, "SIGSTOP of an instance, for half a lease to eight"},
	{lost, 4 * time.Second, "a refresh is carried out, and its answer does not arrive"},
	{fail, 3 * time.Second, "a refresh is refused with 429, 500, 502 or 503, and not carried out"},
	{slow, 2 * time.Second, "a refresh takes up to two thirds of -refresh-timeout"},
	{late, 3 * time.Second, "the answer of a refresh comes after 1 to 2.9 times -refresh-timeout"},
	{reset, 4 * time.Second, "the connection of a refresh is cut, and it is not carried out"},
	{cut, 20 * time.Second, "all connections to the store are cut"},
	{hole, 60 * time.Second, "what is sent to and by the store arrives 1 s to 8 s late"},
	{crash, 60 * time.Second, "the store is killed by kill -9, and started again after up to 3 s"},
}

var storeKinds = []kind{cut, hole, crash}
