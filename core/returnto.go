package core

import (
	"net/url"
	"path"
	"strings"

	"github.com/mxmconnect/mxmconnect/core/internal/musixmatch"
)

// localPath returns raw, a path on this site with an optional query, or false.
// It refuses everything that a browser or router could read as another origin,
// before or after cleaning. What it accepts has one leading slash, no backslash
// and only visible ASCII. The result is clean: cleaning it again changes nothing.
func localPath(raw string) (string, bool) {
	if raw == "" || raw[0] != '/' || strings.HasPrefix(raw, "//") {
		return "", false
	}
	for i := 0; i < len(raw); i++ {
		if c := raw[i]; c < 0x21 || c > 0x7e || c == '\\' {
			return "", false
		}
	}
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || u.Opaque != "" || u.Fragment != "" || strings.Contains(raw, "#") {
		return "", false
	}
	p, query, hasQuery := strings.Cut(raw, "?")
	cleaned := path.Clean(p)
	if strings.HasSuffix(p, "/") && cleaned != "/" {
		cleaned += "/"
	}
	if hasQuery {
		cleaned += "?" + query
	}
	return cleaned, true
}

// site says where this package is mounted. Paths are as the router sees them.
type site struct {
	origin     string // of RedirectURL
	host       string // of RedirectURL, without a port
	prefix     string // Config.PathPrefix, which the router does not see
	base       string // Config.BasePath
	start      string // login, or connect in connect mode
	callback   string
	logout     string // "" in connect mode
	disconnect string
}

// site returns where c, with its defaults, mounts this package.
func (c *Config) site() site {
	s := site{prefix: c.PathPrefix, base: c.BasePath, start: c.BasePath + "/connect", disconnect: c.BasePath + "/disconnect"}
	if c.AppUser == nil {
		s.start, s.logout = c.BasePath+"/login", c.BasePath+"/logout"
	}
	if u, err := url.Parse(c.RedirectURL); err == nil {
		s.origin, s.host = musixmatch.OriginOf(u), u.Hostname()
		s.callback, _ = c.callbackPath()
	}
	return s
}

// callbackPath returns the path of RedirectURL below PathPrefix.
func (c *Config) callbackPath() (p string, below bool) {
	u, err := url.Parse(c.RedirectURL)
	if err != nil {
		return "", false
	}
	return strings.CutPrefix(u.Path, c.PathPrefix)
}

// secure reports whether browsers reach the application over https, as far as c says.
func (c *Config) secure() bool {
	u, err := url.Parse(c.RedirectURL)
	return err == nil && u.Scheme != "http"
}

// browserPath returns p, a path as the router sees it, as the browser sees it.
func (s *site) browserPath(p string) string { return s.prefix + p }

// isOwnPath reports whether the browser path p leads to a route of this
// package. A browser must not be sent there after a login.
func (s *site) isOwnPath(p string) bool {
	if s.base != "" && within(p, s.browserPath(s.base)) {
		return true
	}
	for _, route := range [...]string{s.start, s.callback, s.logout, s.disconnect} {
		if route != "" && within(p, s.browserPath(route)) {
			return true
		}
	}
	return false
}

// within reports whether target, a path with an optional query, is base or
// below it once a router has decoded and cleaned it.
func within(target, base string) bool {
	u, err := url.Parse(target)
	if err != nil {
		return false
	}
	p := path.Clean(u.Path)
	return p == base || strings.HasPrefix(p, base+"/")
}

// returnTo returns where to send a browser that asked for raw. That is raw
// itself if it is on this site, outside the routes of this package, or on a
// trusted origin; otherwise AfterLogin. It is checked at login and again at use.
func (a *Auth) returnTo(raw string) string {
	if p, ok := localPath(strings.TrimPrefix(raw, a.site.origin)); ok {
		if a.site.isOwnPath(p) {
			return a.afterLogin()
		}
		return p
	}
	for _, origin := range a.cfg.TrustedOrigins {
		rest, ok := strings.CutPrefix(raw, origin)
		if !ok {
			continue
		}
		if p, ok := localPath(rest); ok {
			return origin + p
		}
	}
	return a.afterLogin()
}

func (a *Auth) afterLogin() string { return a.site.browserPath(a.cfg.AfterLogin) }
