package musixmatch

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
)

// CheckURL accepts https, and http where plain is true or the host is
// loopback, with a host and without userinfo, query or fragment.
func CheckURL(raw string, plain bool) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return errors.New("is not a URL")
	case u.Host == "" || u.Hostname() == "" || u.Opaque != "":
		return errors.New("must be an absolute URL such as https://app.example")
	case u.User != nil:
		return errors.New("must not hold a user or a password")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Contains(raw, "#"):
		return errors.New("must have no query and no fragment")
	case u.Scheme == "https":
		return nil
	case u.Scheme != "http":
		return fmt.Errorf("must be https, is %q", u.Scheme)
	case plain || IsLoopback(u.Hostname()):
		return nil
	}
	return errors.New("must be https; plain http is for loopback hosts, or for DangerouslyAllowHTTP")
}

// IsLoopback reports whether host is this machine by its name or address.
func IsLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// OriginOf is the origin as a browser writes it in an Origin header.
func OriginOf(u *url.URL) string {
	host := strings.ToLower(u.Host)
	if u.Scheme == "https" {
		host = strings.TrimSuffix(host, ":443")
	} else if u.Scheme == "http" {
		host = strings.TrimSuffix(host, ":80")
	}
	return u.Scheme + "://" + host
}
