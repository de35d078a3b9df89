// Package examples holds programs that run offline with one command, such as
//
//	go run ./examples/nethttp
//
// and against Musixmatch with MXM_CLIENT_ID and MXM_CLIENT_SECRET. Its tests run
// them as processes.
//
//	nethttp gin echo   the same app on three frameworks; diff them
//	link               connect Musixmatch to users the application has signed in itself
//	worker             act for users who are not there
//	distribution       act as the application: claim an artist, submit lyrics
//	byosession         an application with a session manager of its own
package examples
