package core

import (
	"net/url"
	"path"
	"strings"
)

const maxReturnTo = 2 << 10

// localPath returns raw as a path, with query, on the site itself, or false.
// It accepts only what no browser and no router can read as another origin,
// before or after cleaning: one leading slash, no backslash, visible ASCII.
// The result is clean, so that writing it through a cleaner changes nothing.
func localPath(raw string) (string, bool) {
	if raw == "" || len(raw) > maxReturnTo || raw[0] != '/' || strings.HasPrefix(raw, "//") {
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

// returnTo is where a browser may be sent that asked for raw: raw itself if
// that is a path or URL on this site outside the routes of this package, or a
// URL on a trusted origin; otherwise AfterLogin. It is asked at login and again at use.
func (a *Auth) returnTo(raw string) string {
	if p, ok := localPath(strings.TrimPrefix(raw, a.publicOrigin)); ok {
		if a.isOwnPath(p) {
			return a.browserPath(a.cfg.AfterLogin)
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
	return a.browserPath(a.cfg.AfterLogin)
}

// isOwnPath reports whether the browser path p leads to a route of this
// package, where a browser must not be sent after a login.
func (a *Auth) isOwnPath(p string) bool {
	if base := a.cfg.BasePath; base != "" && within(p, a.browserPath(base)) {
		return true
	}
	for _, route := range a.routes {
		if within(p, a.browserPath(route.Path)) {
			return true
		}
	}
	return false
}

// browserPath is p, a path as the router sees it, as the browser sees it.
func (a *Auth) browserPath(p string) string { return a.cfg.PathPrefix + p }
