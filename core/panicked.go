package core

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// panicked, deferred, makes an error of a panic in the application's store or
// transport. In a goroutine of ours it would end the process, and with it
// every token that is not written yet. What was panicked with may hold
// anything, a form with secrets included, so only an error of the runtime is
// repeated.
func panicked(err *error) {
	switch p := recover().(type) {
	case nil:
	case runtime.Error:
		*err = panicError(fmt.Sprintf("panic: %v\n%s", p, debug.Stack()))
	default:
		*err = panicError(fmt.Sprintf("panic with %T\n%s", p, debug.Stack()))
	}
}

type panicError string

func (e panicError) Error() string { return string(e) }
