package storetest

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
)

// managerCases run scs itself over the store, as an application does.
var managerCases = []sessionCase{
	{"scs: load and commit", "What scs commits, scs loads.", func(t *testing.T, s scs.CtxStore) {
		m := HashedSessions(s)
		token := signIn(t, m)
		wantUser(t, m, token, "ada")
	}},
	{"scs: destroy", "After Destroy, a request that had loaded the session commits in vain.", func(t *testing.T, s scs.CtxStore) {
		m := HashedSessions(s)
		token := signIn(t, m)
		slow, logout := load(t, m, token), load(t, m, token)
		if err := m.Destroy(logout); err != nil {
			t.Fatalf("Destroy: %v", err)
		}
		m.Put(slow, "seen", true)
		if _, _, err := m.Commit(slow); err != nil {
			t.Fatalf("Commit of the slow request: %v", err)
		}
		wantUser(t, m, token, "")
	}},
	{"scs: renew", "After RenewToken, the old token is dead for requests that had loaded it, and the new one lives.", func(t *testing.T, s scs.CtxStore) {
		m := HashedSessions(s)
		token := signIn(t, m)
		slow, renew := load(t, m, token), load(t, m, token)
		if err := m.RenewToken(renew); err != nil {
			t.Fatalf("RenewToken: %v", err)
		}
		renewed, _, err := m.Commit(renew)
		if err != nil {
			t.Fatalf("Commit: %v", err)
		}
		if _, _, err := m.Commit(slow); err != nil {
			t.Fatalf("Commit of the slow request: %v", err)
		}
		wantUser(t, m, token, "")
		wantUser(t, m, renewed, "ada")
	}},
	{"scs: slow request over HTTP", "A request that was running when its user logged out does not sign that browser in again.", func(t *testing.T, s scs.CtxStore) {
		m := HashedSessions(s)
		token := signIn(t, m)
		running, loggedOut := make(chan struct{}), make(chan struct{})
		mux := http.NewServeMux()
		mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
			close(running)
			<-loggedOut
			m.Put(r.Context(), "seen", true)
		})
		mux.HandleFunc("/logout", func(w http.ResponseWriter, r *http.Request) {
			if err := m.Destroy(r.Context()); err != nil {
				t.Errorf("Destroy: %v", err)
			}
		})
		handler := m.LoadAndSave(mux)
		get := func(path string) {
			r := httptest.NewRequest(http.MethodGet, path, nil)
			r.AddCookie(&http.Cookie{Name: m.Cookie.Name, Value: token})
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			if w.Code != http.StatusOK {
				t.Errorf("%s answered %d", path, w.Code)
			}
		}
		done := make(chan struct{})
		go func() { defer close(done); get("/slow") }()
		select {
		case <-running:
		case <-done:
			t.Fatal("the slow request did not run")
		}
		get("/logout")
		close(loggedOut)
		<-done
		wantUser(t, m, token, "")
	}},
}

// HashedSessions returns a manager that hashes its tokens and, having an idle
// timeout, commits on every request: the setting where scs's own stores bring
// sessions back.
func HashedSessions(s scs.CtxStore) *scs.SessionManager {
	return &scs.SessionManager{ // scs.New would start a goroutine for a store of its own
		Store:            s,
		Codec:            scs.GobCodec{},
		Lifetime:         24 * time.Hour,
		IdleTimeout:      time.Hour,
		HashTokenInStore: true,
		Cookie:           scs.SessionCookie{Name: "session"},
		ErrorFunc: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		},
	}
}

func signIn(t *testing.T, m *scs.SessionManager) (token string) {
	t.Helper()
	ctx := load(t, m, "")
	m.Put(ctx, "user", "ada")
	token, _, err := m.Commit(ctx)
	if err != nil {
		t.Fatalf("Commit: %v", err)
	}
	return token
}

func load(t *testing.T, m *scs.SessionManager, token string) context.Context {
	t.Helper()
	ctx, err := m.Load(t.Context(), token)
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return ctx
}

func wantUser(t *testing.T, m *scs.SessionManager, token, user string) {
	t.Helper()
	if got := m.GetString(load(t, m, token), "user"); got != user {
		t.Fatalf("the session's user is %q, want %q", got, user)
	}
}
