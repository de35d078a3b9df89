// Package newest has the tests that need a newer version of a library than the
// go.mod of the main module asks for, which asks for the oldest that will do.
//
// The script run tries the newest versions of all of them.
package newest
