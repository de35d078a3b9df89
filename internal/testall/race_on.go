//go:build race

package testall

// Race reports whether the race detector is on, which makes a test some times as slow.
const Race = true
