// Package linearizable has the histories of the stores judged: many clients work
// on a thousand grants at once while connections are cut and servers are killed
// and failed over, and Porcupine decides for every grant whether there is an
// order in which all that the clients saw makes sense.
//
// It is a module of its own, so that whoever uses the library does not find
// Porcupine among its requirements. A store joins by one test file, such as
// postgres_test.go.
//
// MXM_LINEARIZABLE_KEYS is how many grants a run has, 1000 unless it is set.
package linearizable
