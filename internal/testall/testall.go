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

// Missing skips t because program is not installed, or fails it with MXM_TEST_ALL=1.
// pkg is the Debian package to install.
func Missing(t testing.TB, program, pkg string) {
	t.Helper()
	if Set() {
		t.Fatalf("%s is not installed; it is in the Debian package %s", program, pkg)
	}
	t.Skipf("%s is not installed; it is in the Debian package %s", program, pkg)
}
