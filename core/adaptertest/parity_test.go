package adaptertest_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	echo4 "github.com/labstack/echo/v4"
	echo5 "github.com/labstack/echo/v5"
	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/mxmtest"
	"github.com/mxmconnect/mxmconnect/echomw"
	"github.com/mxmconnect/mxmconnect/echomw/echov5"
	"github.com/mxmconnect/mxmconnect/ginmw"
	"github.com/mxmconnect/mxmconnect/nethttpmw"
)

// One application, five routers. GET /me needs a user, GET / does not.
var applications = map[string]func(*core.Auth) http.Handler{
	"net/http": func(auth *core.Auth) http.Handler {
		mux := http.NewServeMux()
		nethttpmw.Mount(mux, auth)
		mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, nethttpmw.UserID(r)) })
		mux.Handle("GET /me", nethttpmw.RequireUser(auth)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, nethttpmw.UserID(r))
		})))
		return nethttpmw.Middleware(auth)(mux)
	},
	"chi": func(auth *core.Auth) http.Handler {
		r := chi.NewRouter()
		r.Use(nethttpmw.Middleware(auth))
		nethttpmw.Mount(r, auth)
		r.Get("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, nethttpmw.UserID(r)) })
		r.With(nethttpmw.RequireUser(auth)).Get("/me", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, nethttpmw.UserID(r)) })
		return r
	},
	"gin": func(auth *core.Auth) http.Handler {
		gin.SetMode(gin.ReleaseMode)
		r := gin.New()
		r.Use(ginmw.Middleware(auth))
		ginmw.Mount(r, auth)
		r.GET("/", func(c *gin.Context) { fmt.Fprint(c.Writer, ginmw.UserID(c)) })
		r.GET("/me", ginmw.RequireUser(auth), func(c *gin.Context) { fmt.Fprint(c.Writer, ginmw.UserID(c)) })
		return r
	},
	"echo v4": func(auth *core.Auth) http.Handler {
		e := echo4.New()
		e.Use(echomw.Middleware(auth))
		echomw.Mount(e, auth)
		e.GET("/", func(c echo4.Context) error { _, err := fmt.Fprint(c.Response(), echomw.UserID(c)); return err })
		e.GET("/me", func(c echo4.Context) error { _, err := fmt.Fprint(c.Response(), echomw.UserID(c)); return err }, echomw.RequireUser(auth))
		return e
	},
	"echo v5": func(auth *core.Auth) http.Handler {
		e := echo5.New()
		e.Use(echov5.Middleware(auth))
		echov5.Mount(e, auth)
		e.GET("/", func(c *echo5.Context) error { _, err := fmt.Fprint(c.Response(), echov5.UserID(c)); return err })
		e.GET("/me", func(c *echo5.Context) error { _, err := fmt.Fprint(c.Response(), echov5.UserID(c)); return err }, echov5.RequireUser(auth))
		return e
	},
}

// difference is an answer that a router insists on giving itself, to what is no
// route or no method of it. It holds from the status and body alone.
type difference struct {
	application, request string
	status               int
	body                 string
	why                  string
}

const (
	trailing = "GET /auth/musixmatch/callback/"
	doubled  = "GET //auth/musixmatch/callback"
	echo404  = "{\"message\":\"Not Found\"}\n"
	echo405  = "{\"message\":\"Method Not Allowed\"}\n"
	gin404   = "404 page not found"
	plain404 = "404 page not found\n"
)

// allowed are all differences from net/http's ServeMux that are not Echo's way
// to word an error; each of them happens.
var allowed = []difference{
	{"chi", "BREW /auth/musixmatch/login", 405, "", "chi knows nine methods"},
	{"chi", "BREW /auth/musixmatch/callback", 405, "", "chi knows nine methods"},
	{"chi", doubled, 404, plain404, "ServeMux redirects to the clean path, by 307; chi does not"},
	{"chi", "HEAD /me", 405, "", "ServeMux serves HEAD where GET is; chi does not"},
	{"chi", "POST /me", 405, "", "an error page of chi's own"},

	{"gin", "BREW /auth/musixmatch/login", 404, gin404, "Gin's Any means nine methods"},
	{"gin", "BREW /auth/musixmatch/callback", 404, gin404, "Gin's Any means nine methods"},
	{"gin", trailing, 404, "not_found", "Gin would redirect, so ginmw answers there"},
	{"gin", doubled, 404, gin404, "ServeMux redirects to the clean path, by 307; Gin does not"},
	{"gin", "HEAD /me", 404, "", "ServeMux serves HEAD where GET is; Gin does not"},
	{"gin", "POST /me", 404, gin404, "Gin answers 404 to a wrong method unless HandleMethodNotAllowed is set"},
	{"gin", "GET /me/", 301, "<a href=\"/me\">Moved Permanently</a>.\n\n", "RedirectTrailingSlash, for the application's own pages"},
	{"gin", "GET /nothing", 404, gin404, "an error page of Gin's own"},

	{"echo v4", "BREW /auth/musixmatch/login", 405, echo405, "Echo v4's Any means eleven methods"},
	{"echo v4", "BREW /auth/musixmatch/callback", 405, echo405, "Echo v4's Any means eleven methods"},
	{"echo v4", trailing, 404, echo404, "an error page of Echo's own"},
	{"echo v4", doubled, 404, echo404, "ServeMux redirects to the clean path, by 307; Echo does not"},
	{"echo v4", "HEAD /me", 405, "", "ServeMux serves HEAD where GET is; Echo does not"},
	{"echo v4", "POST /me", 405, echo405, "an error page of Echo's own"},
	{"echo v4", "GET /me/", 404, echo404, "an error page of Echo's own"},
	{"echo v4", "GET /nothing", 404, echo404, "an error page of Echo's own"},

	{"echo v5", trailing, 404, echo404, "an error page of Echo's own"},
	{"echo v5", doubled, 404, echo404, "ServeMux redirects to the clean path, by 307; Echo does not"},
	{"echo v5", "HEAD /me", 405, "", "ServeMux serves HEAD where GET is; Echo does not"},
	{"echo v5", "POST /me", 405, echo405, "an error page of Echo's own"},
	{"echo v5", "GET /me/", 404, echo404, "an error page of Echo's own"},
	{"echo v5", "GET /nothing", 404, echo404, "an error page of Echo's own"},
}

func TestParityOfAnswers(t *testing.T) {
	for name, onError := range map[string]func(http.ResponseWriter, *http.Request, error){"WriteError": core.WriteError, "default": nil} {
		reference := script(t, applications["net/http"], onError)
		for application, build := range applications {
			t.Run(""+application+" "+name, func(t *testing.T) {
				unused := slices.DeleteFunc(slices.Clone(allowed), func(d difference) bool { return d.application != application })
				found := 0
				for i, got := range script(t, build, onError) {
					want := reference[i]
					if onError == nil && strings.HasPrefix(application, "echo") {
						want = wordedByEcho(want)
					}
					j := slices.IndexFunc(allowed, func(d difference) bool { return d.application == application && d.request == got.request })
					if j < 0 {
						require.Equal(t, want.String(), got.String())
						continue
					}
					d := allowed[j]
					found++
					unused = slices.DeleteFunc(unused, func(u difference) bool { return u == d })
					require.NotEqual(t, want.String(), got.String(), "no difference: %s", d.why)
					require.Equal(t, d.status, got.status, d.request)
					if d.body == "not_found" { // a page or JSON
						require.Contains(t, got.body, d.body)
					} else {
						require.Equal(t, d.body, got.body, d.request)
					}
					require.Empty(t, got.header["Set-Cookie"], d.request)
				}
				require.Empty(t, unused, "listed, and not met")
			})
		}
	}
}

var errorCode = regexp.MustCompile(`"error":"(\w+)"`)

// wordedByEcho is a core.WriteError answer in JSON as Echo's default error
// handler words it: under another name, and nothing for HEAD. The status, the
// code and every other header stay.
func wordedByEcho(a reply) reply {
	if strings.HasPrefix(a.header.Get("Content-Type"), "text/html") {
		return a
	}
	code := errorCode.FindStringSubmatch(a.body)
	head := strings.HasPrefix(a.request, "HEAD ") && a.status >= 400
	if code == nil && !head {
		return a
	}
	a.header = a.header.Clone()
	if head {
		a.header.Del("Content-Type")
		a.header.Del("Content-Length")
		return a
	}
	a.body = fmt.Sprintf("{\"message\":%q}\n", code[1])
	a.header.Set("Content-Type", "application/json")
	a.header.Set("Content-Length", fmt.Sprint(len(a.body)))
	return a
}

// script is what a browser and others ask an application, and every answer,
// with what is random in it replaced.
func script(t *testing.T, application func(*core.Auth) http.Handler, onError func(http.ResponseWriter, *http.Request, error)) (answers []reply) {
	t.Helper()
	mxm := mxmtest.NewServer()
	defer mxm.Close()
	mxm.SignInAs("mxm:100000000000000000001")
	srv := httptest.NewUnstartedServer(nil)
	origin := "http://" + srv.Listener.Addr().String()
	config := mxm.Config(origin)
	config.ErrorHandler = onError
	config.Logger = slog.New(slog.DiscardHandler)
	auth, err := core.New(config)
	require.NoError(t, err)
	srv.Config.Handler = application(auth)
	srv.Start()
	defer srv.Close()

	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	client := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer client.CloseIdleConnections()
	ask := func(method, target string, headers ...string) string {
		t.Helper()
		if strings.HasPrefix(target, "/") {
			target = origin + target
		}
		r, err := http.NewRequest(method, target, nil)
		require.NoError(t, err)
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		res, err := client.Do(r)
		require.NoError(t, err)
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		if strings.HasPrefix(target, origin) {
			answers = append(answers, newReply(method, res, string(body), origin, mxm.URL))
		}
		return res.Header.Get("Location")
	}
	page := []string{"Accept", "text/html", "Sec-Fetch-Mode", "navigate"}

	ask("GET", "/")
	ask("GET", "/me")
	ask("GET", "/me", page...)
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"} {
		for _, route := range auth.Routes() {
			if (method == "GET") != (route.Path == mxmtest.CallbackPath || strings.HasSuffix(route.Path, "/login")) {
				ask(method, route.Path)
			}
		}
	}
	callback := ask("GET", ask("GET", "/auth/musixmatch/login?return_to=/me%3Fx", page...))
	ask("HEAD", callback)
	ask("GET", callback+"&state=twice")
	ask("GET", callback+"&state=twice", page...)
	ask("GET", strings.Replace(callback, "/callback", "/callback/", 1))
	ask("GET", strings.Replace(callback, "/callback", "/callback/", 1), page...)
	ask("GET", strings.Replace(callback, "/auth", "//auth", 1))
	ask("GET", callback, page...)
	ask("GET", callback, page...)
	ask("GET", "/")
	ask("GET", "/me")
	ask("HEAD", "/me")
	ask("POST", "/me")
	ask("GET", "/me/")
	ask("GET", "/nothing")
	mxm.Deny()
	denied := ask("GET", ask("GET", "/auth/musixmatch/login", page...))
	ask("GET", denied, page...)
	ask("POST", "/auth/musixmatch/logout", "Origin", "https://evil.example")
	ask("POST", "/auth/musixmatch/logout", append([]string{"Origin", "https://evil.example"}, page...)...)
	ask("POST", "/auth/musixmatch/logout", "Origin", origin)
	ask("POST", "/auth/musixmatch/disconnect", "Origin", origin)
	ask("GET", "/me")
	return answers
}

var random = []*regexp.Regexp{
	regexp.MustCompile(`((?:state|code|code_challenge)=)[^&;\s]+`),
	regexp.MustCompile(`(mxm_flow_)[0-9a-f]+`),
	regexp.MustCompile(`(Set-Cookie: [^=]+=)[^;]+`),
	regexp.MustCompile(`(Expires=)[^;]+`),
	regexp.MustCompile(`(Max-Age=86)\d+`),
}

// reply is an answer without what is random in it.
type reply struct {
	request string
	status  int
	header  http.Header
	body    string
}

func newReply(method string, res *http.Response, body, origin, mxm string) reply {
	servers := strings.NewReplacer(origin, "http://app", url.QueryEscape(origin), "http://app", mxm, "http://musixmatch")
	settle := func(text string) string {
		text = servers.Replace(text)
		for _, r := range random {
			text = r.ReplaceAllString(text, "${1}…")
		}
		return text
	}
	a := reply{request: method + " " + res.Request.URL.Path, status: res.StatusCode, header: make(http.Header), body: settle(body)}
	for name, values := range res.Header {
		if name == "Date" || name == "Content-Length" && a.body != body {
			continue
		}
		for _, value := range values {
			a.header.Add(name, strings.TrimPrefix(settle(name+": "+value), name+": "))
		}
	}
	return a
}

func (a reply) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%d\n", a.request, a.status)
	_ = a.header.Write(&b)
	b.WriteString(a.body)
	return b.String()
}

// Four packages, one interface: the same names in the same order with the same
// comments, up to what the framework's types and groups make different.
func TestParityOfPackages(t *testing.T) {
	packages := map[string]string{
		"nethttpmw": "../../nethttpmw", "ginmw": "../../ginmw", "echomw": "../../echomw", "echov5": "../../echomw/echov5",
	}
	want := []string{"Mount", "Middleware", "RequireUser", "UserID"}
	comments := make(map[string]map[string]string)
	for name, dir := range packages {
		fset := token.NewFileSet()
		paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
		require.NoError(t, err)
		comments[name] = make(map[string]string)
		var exported []string
		for _, path := range paths {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
			require.NoError(t, err)
			for _, decl := range file.Decls {
				switch decl := decl.(type) {
				case *ast.FuncDecl:
					if decl.Recv == nil && decl.Name.IsExported() {
						exported = append(exported, decl.Name.Name)
						comments[name][decl.Name.Name] = decl.Doc.Text()
						takesAuthOnly(t, name, decl)
					}
				case *ast.GenDecl:
					for _, spec := range decl.Specs {
						if spec, ok := spec.(*ast.TypeSpec); ok && spec.Name.IsExported() {
							// What Mount takes, where the framework has no name for it.
							require.Contains(t, []string{"Mux", "Router"}, spec.Name.Name, name)
						}
					}
				}
			}

			// An adapter holds no decision and no second copy of the truth.
			file.Comments = nil
			var code strings.Builder
			require.NoError(t, printer.Fprint(&code, fset, file))
			for _, word := range []string{"oauth", "token", "verifier", "pkce", "scope", "issuer", "grant", "c.Set(", "c.Get(", "Cookie", "Header()"} {
				require.NotContains(t, code.String(), word, path)
			}
		}
		require.Equal(t, want, exported, name)
	}
	for _, name := range want {
		for _, adapter := range []string{"ginmw", "echomw", "echov5"} {
			a, b := comments["nethttpmw"][name], comments[adapter][name]
			if name == "Mount" { // net/http has no groups
				a, _, _ = strings.Cut(a, "core.Config")
				b, _, _ = strings.Cut(b, "core.Config")
			}
			require.NotEmpty(t, a)
			require.Equal(t, a, b, "%s.%s", adapter, name)
			require.Equal(t, comments["ginmw"][name], comments[adapter][name])
		}
	}
}

// takesAuthOnly says that an adapter has no options.
func takesAuthOnly(t *testing.T, adapter string, f *ast.FuncDecl) {
	t.Helper()
	count := f.Type.Params.NumFields()
	if f.Name.Name == "Mount" {
		count--
	}
	require.Equal(t, 1, count, "%s.%s", adapter, f.Name.Name)
}
