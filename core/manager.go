package core

import (
	"net/http"
	"reflect"
	"strconv"
	"sync/atomic"

	"github.com/alexedwards/scs/v2"
)

var managers atomic.Int64

// newManager is scs.New without the memory store that comes with it: that one
// starts a goroutine which nothing can stop without a race. What remains to be
// given is the context key, which is unexported and must differ between
// managers. Should a later scs have another, its own New does.
func newManager() *scs.SessionManager {
	m := &scs.SessionManager{
		ErrorFunc: func(w http.ResponseWriter, r *http.Request, err error) {
			WriteError(w, r, fail("session", ErrUnavailable, err))
		},
		Cookie: scs.SessionCookie{HttpOnly: true, Path: "/", SameSite: http.SameSiteLaxMode, Persist: true},
	}
	key := reflect.ValueOf(m).Elem().FieldByName("contextKey")
	if !key.IsValid() || key.Kind() != reflect.String {
		return scs.New()
	}
	*(*string)(key.Addr().UnsafePointer()) = "mxmconnect." + strconv.FormatInt(managers.Add(1), 10)
	return m
}
