// Package examples holds programs that run offline with one command, such as
//
//	go run ./examples/nethttp
//
// Set MXM_CLIENT_ID and MXM_CLIENT_SECRET to run them against Musixmatch. The
// tests run them as processes.
//
//	starter            a program to copy: Redis, several instances, shutdown
//	nethttp gin echo   the same app on three frameworks; diff them
//	link               connect Musixmatch to users that the application signs in itself
//	worker             act for users who are not there, and keep their connections alive
//	distribution       act as the application: claim an artist, submit lyrics
//	byosession         an application that has its own session manager
package examples
