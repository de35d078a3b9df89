// Package testall reads MXM_TEST_ALL. With MXM_TEST_ALL=1 a test run skips
// nothing: tests that take long run too, and a missing server is a failure.
package testall

import (
	"os"
	"testing"
)

// Set reports whether MXM_TEST_ALL=1.
func Set() bool { return os.Getenv("MXM_TEST_ALL") == "1" }

// Long skips t unless MXM_TEST_ALL=1.
func Long(t testing.TB) {
	t.Helper()
	if !Set() {
		t.Skip("takes long: set MXM_TEST_ALL=1 to run it")
	}
}
