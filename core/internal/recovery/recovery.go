// Package recovery makes an error of a panic in code that is not ours: the
// application's store, transport, logger or hook. In a goroutine of ours the
// panic would end the process, and with it every token that is not stored yet.
package recovery

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// Panic is the error that Catch makes.
type Panic string

func (e Panic) Error() string { return string(e) }

// Catch must be deferred. It stops a panic and sets *err to a [Panic]. The
// value that was panicked with may hold anything, a form with secrets
// included, so only an error of the Go runtime is repeated.
func Catch(err *error) {
	switch p := recover().(type) {
	case nil:
	case runtime.Error:
		*err = Panic(fmt.Sprintf("panic: %v\n%s", p, debug.Stack()))
	default:
		*err = Panic(fmt.Sprintf("panic with %T\n%s", p, debug.Stack()))
	}
}
