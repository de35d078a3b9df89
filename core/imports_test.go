package core_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/mxmconnect/mxmconnect/"

// What each package may be built from, besides the standard library and
// itself. An entry that ends in a slash stands for all below it.
var mayImport = map[string][]string{
	"core":                     {module + "core/internal/", "github.com/alexedwards/scs/v2", "golang.org/x/oauth2", "golang.org/x/sync/"},
	"core/mxmtest":             {module + "core", module + "core/internal/", "github.com/alexedwards/scs/v2", "golang.org/x/oauth2", "golang.org/x/sync/"},
	"nethttpmw":                {module + "core", module + "core/internal/", "github.com/alexedwards/scs/v2", "golang.org/x/oauth2", "golang.org/x/sync/"},
	"sessionstore/memstore":    {module + "core", module + "core/internal/", "github.com/alexedwards/scs/v2", "golang.org/x/oauth2", "golang.org/x/sync/"},
	"sessionstore/sqlitestore": nil,
	"sessionstore/redisstore":  nil,
	"sessionstore/pgxstore":    nil,
	"sessionstore/mysqlstore":  nil,
	"sessionstore/storetest":   {module + "core", module + "core/internal/", "github.com/alexedwards/scs/v2", "golang.org/x/oauth2", "golang.org/x/sync/"}, // and testing
	"core/adaptertest":         nil,
	"core/mxmotel":             nil,
	"ginmw":                    nil,
	"echomw":                   nil,
	"echomw/echov5":            nil,
	"cmd/mxm":                  nil,
}

// What a package must never be built from, where the list of what it may is
// somebody else's: a framework's or a driver's own dependencies.
var mustNotImport = map[string][]string{
	"core":                     {"html/template", "text/template"}, // for them the linker keeps all methods: 3 MB
	"sessionstore/sqlitestore": {"net/http/httptest", module + "core/mxmtest", "github.com/redis/", "github.com/jackc/", "github.com/gin-gonic/", "github.com/labstack/", "testing"},
	"sessionstore/redisstore":  {module + "core/mxmtest", "modernc.org/", "github.com/jackc/", "github.com/gin-gonic/", "github.com/labstack/", "testing"},
	"sessionstore/pgxstore":    {module + "core/mxmtest", "modernc.org/", "github.com/redis/", "github.com/gin-gonic/", "github.com/labstack/", "testing"},
	"sessionstore/mysqlstore":  {module + "core/mxmtest", "modernc.org/", "github.com/redis/", "github.com/jackc/", "github.com/gin-gonic/", "github.com/labstack/", "testing"},
	"core/adaptertest":         {"github.com/gin-gonic/", "github.com/labstack/", "github.com/redis/", "github.com/jackc/", "modernc.org/", module + "nethttpmw", "github.com/stretchr/"},
	"core/mxmotel":             {"github.com/gin-gonic/", "github.com/labstack/", "testing"},
	"ginmw":                    {"github.com/labstack/", "github.com/redis/", "github.com/jackc/", "modernc.org/", module + "nethttpmw", module + "sessionstore/", "testing"},
	"echomw":                   {"github.com/gin-gonic/", "github.com/labstack/echo/v5", "github.com/redis/", "github.com/jackc/", "modernc.org/", module + "sessionstore/", "testing"},
	"echomw/echov5":            {"github.com/gin-gonic/", "github.com/labstack/echo/v4", "github.com/redis/", "github.com/jackc/", "modernc.org/", module + "sessionstore/", "testing"},
	"cmd/mxm":                  {"github.com/gin-gonic/", "github.com/labstack/", "net/http/httptest", "testing"}, // the stores' drivers are for doctor
}

// The walls below core. A package's own files may import the standard library
// and what is listed in may, but nothing of notDirectly. never must be nowhere
// in what it is built from.
var walls = map[string]struct{ may, notDirectly, never []string }{
	"core/internal/grant": {
		may:         []string{module + "core/internal/musixmatch", module + "core/internal/seal", module + "core/internal/recovery", "golang.org/x/oauth2"},
		notDirectly: []string{"net/http", "log/slog"},
		never:       []string{module + "core", module + "core/internal/session", "github.com/alexedwards/scs/v2"},
	},
	"core/internal/browsers": {
		may:         []string{module + "core/internal/grant", module + "core/internal/recovery", module + "core/internal/seal", module + "core/internal/session"},
		notDirectly: []string{"net/http", "log/slog"},
		never:       []string{module + "core"},
	},
	"core/internal/session": {
		may: []string{"github.com/alexedwards/scs/v2", module + "core/internal/recovery"},
		never: []string{module + "core", module + "core/internal/grant", module + "core/internal/musixmatch", module + "core/internal/seal",
			"golang.org/x/oauth2"},
	},
	"core/internal/musixmatch": {
		may:         []string{module + "core/internal/recovery", "golang.org/x/oauth2"},
		notDirectly: []string{"log/slog"},
		never:       []string{module + "core", module + "core/internal/grant", module + "core/internal/session", "github.com/alexedwards/scs/v2"},
	},
	"core/internal/seal":             {never: []string{"net/http"}},
	"core/internal/recovery":         {never: []string{"net/http"}},
	"core/internal/grant/simulation": {}, // tests only
	"core/internal/grant/million":    {}, // tests only
}

func TestWalls(t *testing.T) {
	for _, pkg := range strings.Fields(goList(t, "./core/internal/...")) {
		name := strings.TrimPrefix(pkg, module)
		t.Run(name, func(t *testing.T) {
			wall, known := walls[name]
			require.True(t, known, "say in walls what %s may import", name)
			for _, imported := range strings.Fields(goList(t, "-f", `{{join .Imports " "}}`, pkg)) {
				require.NotContains(t, wall.notDirectly, imported)
				if !standard(imported) {
					require.Contains(t, wall.may, imported)
				}
			}
			for _, dep := range strings.Fields(goList(t, "-deps", pkg)) {
				require.NotContains(t, wall.never, dep)
				require.NotContains(t, never, dep)
			}
		})
	}
}

// Standard library packages that production code of this project never needs.
var never = []string{"testing", "database/sql", "net/http/httptest", "flag"}

func TestImports(t *testing.T) {
	for _, pkg := range strings.Fields(goList(t, "./...")) {
		name, ours := strings.CutPrefix(pkg, module)
		allowed, known := mayImport[name]
		if !ours || !known {
			continue
		}
		t.Run(name, func(t *testing.T) {
			for _, dep := range strings.Fields(goList(t, "-deps", pkg)) {
				if dep == pkg {
					continue
				}
				for _, bad := range mustNotImport[name] {
					require.False(t, matches(bad, dep), "%s is built from %s", name, dep)
				}
				if allowed == nil {
					continue
				}
				if standard(dep) {
					if name != "sessionstore/storetest" {
						require.NotContains(t, never, dep)
					}
					continue
				}
				require.True(t, slices.ContainsFunc(allowed, func(a string) bool { return matches(a, dep) }), "%s is built from %s", name, dep)
			}
		})
	}
}

func standard(pkg string) bool {
	first, _, _ := strings.Cut(pkg, "/")
	return !strings.Contains(first, ".")
}

func matches(rule, dep string) bool {
	return dep == strings.TrimSuffix(rule, "/") || strings.HasPrefix(dep, strings.TrimSuffix(rule, "/")+"/")
}

func goList(t *testing.T, args ...string) string {
	cmd := exec.Command("go", append([]string{"list"}, args...)...)
	cmd.Dir = ".."
	out, err := cmd.Output()
	require.NoError(t, err)
	return string(out)
}
