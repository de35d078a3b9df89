package core_test

import (
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core"
)

// An application renders its own errors, and those of a Client, with WriteError:
// 503 says when to come back, whoever returned it.
func TestWriteErrorForApplications(t *testing.T) {
	w := httptest.NewRecorder()
	core.WriteError(w, httptest.NewRequest("GET", "/", nil), core.ErrUnavailable)
	require.Equal(t, 503, w.Code)
	require.Equal(t, "5", w.Header().Get("Retry-After"))

	w = httptest.NewRecorder()
	w.Header().Set("Retry-After", "60")
	core.WriteError(w, httptest.NewRequest("GET", "/", nil), core.ErrUnavailable)
	require.Equal(t, "60", w.Header().Get("Retry-After"))

	w = httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Accept", "text/html")
	core.WriteError(w, r, &core.Error{Code: "not_found", Status: 404})
	require.Equal(t, 404, w.Code)
	require.Contains(t, w.Body.String(), "There is nothing at this address.")
	require.Empty(t, w.Header().Get("Retry-After"))

	w = httptest.NewRecorder()
	core.WriteError(w, r, &core.Error{Code: "already_connected", Description: "Somebody else <has> it.", Status: 409})
	require.Equal(t, 409, w.Code)
	require.Contains(t, w.Body.String(), "Somebody else &lt;has&gt; it.")
}
