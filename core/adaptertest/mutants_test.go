package adaptertest_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/adaptertest"
)

// parts are what an adapter consists of; a mutant replaces one.
type parts struct {
	mount       func(mux *http.ServeMux, auth *core.Auth, route core.Route)
	middleware  func(auth *core.Auth) func(http.Handler) http.Handler
	requireUser func(auth *core.Auth) func(http.Handler) http.Handler
	userID      func(*http.Request) string
	fail        func(w http.ResponseWriter, r *http.Request, err error)
}

func render(auth *core.Auth, w http.ResponseWriter, r *http.Request, err error) {
	if err != nil && !auth.HandleError(w, r, err) {
		core.WriteError(w, r, err)
	}
}

func good() *parts {
	return &parts{
		mount: func(mux *http.ServeMux, auth *core.Auth, route core.Route) {
			mux.HandleFunc(route.Path, func(w http.ResponseWriter, r *http.Request) { render(auth, w, r, route.Serve(w, r)) })
		},
		middleware: func(auth *core.Auth) func(http.Handler) http.Handler { return auth.Wrap },
		requireUser: func(auth *core.Auth) func(http.Handler) http.Handler {
			return guard(auth, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				_, err := auth.Admit(w, r)
				render(auth, w, r, err)
			})
		},
		userID: func(r *http.Request) string { return core.UserID(r.Context()) },
		fail:   core.WriteError,
	}
}

func guard(auth *core.Auth, refuse func(http.ResponseWriter, *http.Request, http.Handler)) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return auth.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if user, _ := auth.User(r.Context()); user == "" {
				refuse(w, r, next)
			} else if admitted, err := auth.Admit(w, r); admitted != nil {
				next.ServeHTTP(w, admitted)
			} else {
				render(auth, w, r, err)
			}
		}))
	}
}

func (p *parts) build(app adaptertest.App) http.Handler {
	mux := http.NewServeMux()
	for _, auth := range []*core.Auth{app.Auth, app.Second} {
		if auth != nil {
			for _, route := range auth.Routes() {
				p.mount(mux, auth, route)
			}
		}
	}
	mux.HandleFunc(app.WhoAmI, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, p.userID(r)) })
	for _, page := range app.Pages {
		var h http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := page.Serve(w, r); err != nil {
				p.fail(w, r, err)
			}
		})
		if page.RequireSecond {
			h = p.requireUser(app.Second)(h)
		}
		if page.RequireUser {
			h = p.requireUser(app.Auth)(h)
		}
		mux.Handle(page.Path, h)
	}
	var h http.Handler = mux
	if app.RequireUser {
		h = p.requireUser(app.Auth)(h)
	}
	if app.Middleware {
		if app.Second != nil {
			h = p.middleware(app.Second)(h)
		}
		h = p.middleware(app.Auth)(h)
	}
	return h
}

// around makes a middleware that hands something else than core's writer to
// the application.
func around(change func(w http.ResponseWriter, r *http.Request, next http.Handler)) func(*core.Auth) func(http.Handler) http.Handler {
	return func(auth *core.Auth) func(http.Handler) http.Handler {
		return func(next http.Handler) http.Handler {
			return auth.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { change(w, r, next) }))
		}
	}
}

// naked is a writer with nothing but the three methods.
type naked struct{ w http.ResponseWriter }

func (n naked) Header() http.Header         { return n.w.Header() }
func (n naked) Write(b []byte) (int, error) { return n.w.Write(b) }
func (n naked) WriteHeader(status int)      { n.w.WriteHeader(status) }

// mutants are adapters with one mistake each, and a case that must catch it.
var mutants = []struct {
	name, caught string
	breakIt      func(p *parts)
}{
	{"none", "", func(*parts) {}},
	{"mounts one method only", "methods", func(p *parts) {
		p.mount = func(mux *http.ServeMux, auth *core.Auth, route core.Route) {
			method := "GET "
			if strings.HasSuffix(route.Path, "logout") || strings.HasSuffix(route.Path, "connect") {
				method = "POST "
			}
			good().mount(mux, auth, core.Route{Path: method + route.Path, Serve: route.Serve})
		}
	}},
	{"mounts subtrees", "trailing slash", func(p *parts) {
		p.mount = func(mux *http.ServeMux, auth *core.Auth, route core.Route) {
			good().mount(mux, auth, route)
			good().mount(mux, auth, core.Route{Path: route.Path + "/", Serve: route.Serve})
		}
	}},
	{"redirects trailing slashes", "trailing slash", func(p *parts) {
		p.mount = func(mux *http.ServeMux, auth *core.Auth, route core.Route) {
			good().mount(mux, auth, route)
			mux.HandleFunc(route.Path+"/", func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, route.Path+"?"+r.URL.RawQuery, http.StatusMovedPermanently)
			})
		}
	}},
	{"drops errors", "forged state", func(p *parts) {
		p.mount = func(mux *http.ServeMux, _ *core.Auth, route core.Route) {
			mux.HandleFunc(route.Path, func(w http.ResponseWriter, r *http.Request) { _ = route.Serve(w, r) })
		}
	}},
	{"shows the error", "denied", func(p *parts) {
		p.mount = func(mux *http.ServeMux, _ *core.Auth, route core.Route) {
			mux.HandleFunc(route.Path, func(w http.ResponseWriter, r *http.Request) {
				if err := route.Serve(w, r); err != nil {
					http.Error(w, err.Error()+r.URL.RawQuery, err.(interface{ StatusCode() int }).StatusCode())
				}
			})
		}
	}},
	{"shows the session", "caching", func(p *parts) {
		p.middleware = around(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			next.ServeHTTP(w, r)
			_, _ = io.WriteString(w, r.Header.Get("Cookie"))
		})
	}},
	{"ignores ErrorHandler", "ErrorHandler", func(p *parts) {
		p.mount = func(mux *http.ServeMux, _ *core.Auth, route core.Route) {
			mux.HandleFunc(route.Path, func(w http.ResponseWriter, r *http.Request) {
				if err := route.Serve(w, r); err != nil {
					core.WriteError(w, r, err)
				}
			})
		}
	}},
	{"renders twice", "ErrorHandler", func(p *parts) {
		p.requireUser = func(auth *core.Auth) func(http.Handler) http.Handler {
			return guard(auth, func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
				if err := auth.Challenge(w, r); err != nil {
					auth.HandleError(w, r, err)
					core.WriteError(w, r, err)
				}
			})
		}
	}},
	{"has no middleware", "first byte", func(p *parts) {
		p.middleware = func(*core.Auth) func(http.Handler) http.Handler {
			return func(next http.Handler) http.Handler { return next }
		}
	}},
	{"needs its middleware", "without Middleware", func(p *parts) {
		p.requireUser = func(auth *core.Auth) func(http.Handler) http.Handler {
			return func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if core.UserID(r.Context()) != "" {
						next.ServeHTTP(w, r)
						return
					}
					render(auth, w, r, auth.Challenge(w, r))
				})
			}
		}
	}},
	{"lets everybody through", "who navigates", func(p *parts) {
		p.requireUser = func(auth *core.Auth) func(http.Handler) http.Handler { return auth.Wrap }
	}},
	{"lets in the users of any Auth", "two Auths", func(p *parts) {
		p.requireUser = func(auth *core.Auth) func(http.Handler) http.Handler {
			return func(next http.Handler) http.Handler {
				return auth.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if core.UserID(r.Context()) != "" {
						next.ServeHTTP(w, r)
						return
					}
					render(auth, w, r, auth.Challenge(w, r))
				}))
			}
		}
	}},
	{"keeps the request that was not admitted", "two Auths", func(p *parts) {
		p.requireUser = func(auth *core.Auth) func(http.Handler) http.Handler {
			return func(next http.Handler) http.Handler {
				return auth.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					admitted, err := auth.Admit(w, r)
					if admitted != nil {
						next.ServeHTTP(w, r)
					}
					render(auth, w, r, err)
				}))
			}
		}
	}},
	{"sends its own routes to the login", "around everything", func(p *parts) {
		p.requireUser = func(auth *core.Auth) func(http.Handler) http.Handler {
			return guard(auth, func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
				render(auth, w, r, auth.Challenge(w, r))
			})
		}
	}},
	{"goes on after the challenge", "who navigates", func(p *parts) {
		p.requireUser = func(auth *core.Auth) func(http.Handler) http.Handler {
			return guard(auth, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				render(auth, w, r, auth.Challenge(w, r))
				next.ServeHTTP(w, r)
			})
		}
	}},
	{"redirects every refusal", "who navigates", func(p *parts) {
		p.requireUser = func(auth *core.Auth) func(http.Handler) http.Handler {
			return guard(auth, func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
				http.Redirect(w, r, auth.LoginURL(r.RequestURI), http.StatusFound)
			})
		}
	}},
	{"exempts a User-Agent", "by route", func(p *parts) {
		p.requireUser = func(auth *core.Auth) func(http.Handler) http.Handler {
			return guard(auth, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if strings.HasPrefix(r.UserAgent(), "kube-probe") {
					next.ServeHTTP(w, r)
					return
				}
				render(auth, w, r, auth.Challenge(w, r))
			})
		}
	}},
	{"believes a header", "identity", func(p *parts) {
		p.userID = func(r *http.Request) string { return core.UserID(r.Context()) + r.Header.Get("X-User-Id") }
	}},
	{"remembers the last user", "isolation", func(p *parts) {
		var mu sync.Mutex
		last := ""
		p.userID = func(r *http.Request) string {
			mu.Lock()
			defer mu.Unlock()
			was := last
			last = core.UserID(r.Context())
			if was != "" {
				return was
			}
			return last
		}
	}},
	{"writes past core", "save fails", func(p *parts) {
		p.middleware = around(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			next.ServeHTTP(w.(interface{ Unwrap() http.ResponseWriter }).Unwrap(), r)
		})
	}},
	{"buffers", "streaming", func(p *parts) {
		p.middleware = around(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			rec := httptest.NewRecorder()
			next.ServeHTTP(rec, r)
			for name, values := range rec.Header() {
				w.Header()[name] = values
			}
			w.WriteHeader(rec.Code)
			_, _ = w.Write(rec.Body.Bytes())
		})
	}},
	{"hides Flusher and Hijacker", "upgrade", func(p *parts) {
		p.middleware = around(func(w http.ResponseWriter, r *http.Request, next http.Handler) { next.ServeHTTP(naked{w}, r) })
	}},
	{"hides Unwrap", "first byte", func(p *parts) {
		p.middleware = around(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			next.ServeHTTP(struct {
				http.ResponseWriter
				http.Flusher
				http.Hijacker
			}{w, w.(http.Flusher), w.(http.Hijacker)}, r)
		})
	}},
	{"writes the header early", "first byte", func(p *parts) {
		p.middleware = around(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			w.WriteHeader(http.StatusOK)
			next.ServeHTTP(w, r)
		})
	}},
	{"swallows panics", "abort", func(p *parts) {
		p.middleware = around(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			defer func() { _ = recover() }()
			next.ServeHTTP(w, r)
		})
	}},
	{"sets cookies twice", "first byte", func(p *parts) {
		p.middleware = func(auth *core.Auth) func(http.Handler) http.Handler {
			return func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					auth.Wrap(next).ServeHTTP(&doubling{ResponseWriter: w}, r)
				})
			}
		}
	}},
	{"sets a cookie for everybody", "anonymous", func(p *parts) {
		p.middleware = around(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			http.SetCookie(w, &http.Cookie{Name: "visitor", Value: "1"})
			next.ServeHTTP(w, r)
		})
	}},
	{"caches", "caching", func(p *parts) {
		p.middleware = func(auth *core.Auth) func(http.Handler) http.Handler {
			return func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					auth.Wrap(next).ServeHTTP(&caching{ResponseWriter: w}, r)
				})
			}
		}
	}},
	{"keeps the outer request", "first byte", func(p *parts) {
		p.middleware = func(auth *core.Auth) func(http.Handler) http.Handler {
			return func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					auth.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { next.ServeHTTP(w, r) })).ServeHTTP(w, r)
				})
			}
		}
	}},
	{"renders its own way on a failing page", "handler error", func(p *parts) {
		p.fail = func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	}},
}

type doubling struct{ http.ResponseWriter }

func (d *doubling) WriteHeader(status int) {
	for _, line := range d.Header()["Set-Cookie"] {
		d.Header().Add("Set-Cookie", line)
	}
	d.ResponseWriter.WriteHeader(status)
}
func (d *doubling) Unwrap() http.ResponseWriter { return d.ResponseWriter }

type caching struct{ http.ResponseWriter }

func (c *caching) Write(b []byte) (int, error) {
	c.Header().Set("Cache-Control", "public, max-age=60")
	return c.ResponseWriter.Write(b)
}
func (c *caching) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// TestMutant is run by TestSuiteCatchesBrokenAdapters, in a process of its own.
func TestMutant(t *testing.T) {
	name := os.Getenv("MXM_MUTANT")
	if name == "" {
		t.Skip("run by TestSuiteCatchesBrokenAdapters")
	}
	for _, m := range mutants {
		if m.name == name {
			adaptertest.Run(t, func(app adaptertest.App) http.Handler {
				p := good()
				m.breakIt(p)
				return p.build(app)
			})
		}
	}
}

func TestSuiteCatchesBrokenAdapters(t *testing.T) {
	if os.Getenv("MXM_MUTANT") != "" {
		t.Skip("this is the inner process")
	}
	verdict := regexp.MustCompile(`(?m)^ *--- (PASS|FAIL): TestMutant/([^\s/]+) `) // cases, not what is inside them
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			pattern := "^TestMutant$"
			if m.caught != "" {
				pattern += "/^" + regexp.QuoteMeta(strings.ReplaceAll(m.caught, " ", "_")) + "$"
			}
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run="+pattern, "-test.v", "-test.timeout=1m")
			cmd.Env = append(os.Environ(), "MXM_MUTANT="+m.name)
			out, err := cmd.CombinedOutput()
			seen := make(map[string]string)
			for _, match := range verdict.FindAllStringSubmatch(string(out), -1) {
				seen[match[2]] = match[1]
			}
			if m.caught == "" {
				require.NoError(t, err, "%s", out)
				require.Greater(t, len(seen), 40)
				for _, other := range mutants { // or else a renamed case would catch nothing
					if other.caught != "" {
						require.Contains(t, seen, strings.ReplaceAll(other.caught, " ", "_"))
					}
				}
				return
			}
			require.Error(t, err, "nothing was noticed")
			require.Equal(t, map[string]string{strings.ReplaceAll(m.caught, " ", "_"): "FAIL"}, seen, "%s", out)
			require.Contains(t, string(out), "the adapter does not keep this promise", string(out))
		})
	}
}
