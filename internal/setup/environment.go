// Package setup starts and stops the examples: it reads the environment, starts a
// fake Musixmatch if there are no credentials, and shuts down in good order.
package setup

import (
	"cmp"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/mxmconnect/mxmconnect/core"
)

// Mistake is an environment variable with an invalid value. It says what is wrong,
// and never prints the value, which may be a secret.
type Mistake struct{ Variable, Problem string }

// Error implements error.
func (m *Mistake) Error() string { return m.Variable + " " + m.Problem }

// Environment reads variables and collects the mistakes in them.
type Environment struct{ mistakes []error }

// Err returns the mistakes found so far.
func (e *Environment) Err() error { return errors.Join(e.mistakes...) }

// Reject adds a mistake.
func (e *Environment) Reject(variable, problem string) {
	e.mistakes = append(e.mistakes, &Mistake{variable, problem})
}

// Get returns a variable, or fallback if it is empty or not set.
func (e *Environment) Get(variable, fallback string) string {
	return cmp.Or(os.Getenv(variable), fallback)
}

// Duration returns a variable such as 30s, 5m or 0.
func (e *Environment) Duration(variable string, fallback time.Duration) time.Duration {
	text := os.Getenv(variable)
	if text == "" {
		return fallback
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		e.Reject(variable, "must be a duration such as 30s or 5m, and not negative")
		return fallback
	}
	return d
}

// Keys returns the sealing keys in a variable: base64 of 32 bytes each,
// separated by commas.
func (e *Environment) Keys(variable string) (keys [][]byte) {
	text := os.Getenv(variable)
	if text == "" {
		return nil
	}
	for _, part := range strings.Split(text, ",") {
		key, err := decodeBase64(strings.TrimSpace(part))
		if err != nil || len(key) != 32 {
			e.Reject(variable, "must be base64 of 32 random bytes, or several separated by commas"+keyMistake(key, err)+"; make one with: openssl rand -base64 32")
			return nil
		}
		keys = append(keys, key)
	}
	return keys
}

// keyMistake says what a key is instead, without showing it.
func keyMistake(key []byte, err error) string {
	twice, errTwice := decodeBase64(string(key))
	switch {
	case err != nil:
		return ", and one is not base64"
	case len(key) == 48: // of 64 hexadecimal digits, which base64 has, too
		return ", and one looks like hexadecimal digits"
	case errTwice == nil && len(twice) == 32:
		return ", and one was encoded twice"
	}
	return fmt.Sprintf(", and one decodes to %d bytes", len(key))
}

// decodeBase64 takes both alphabets, padded or not, since tools differ.
func decodeBase64(text string) ([]byte, error) {
	text = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(text, "="))
	return base64.RawStdEncoding.Strict().DecodeString(text)
}

// Origin checks that a variable's value is the base URL of an API, https or on
// a loopback host, and returns its origin.
func (e *Environment) Origin(variable, value string) string {
	u, err := url.Parse(value)
	switch {
	case err != nil, u.Scheme != "https" && u.Scheme != "http", u.Hostname() == "", u.User != nil, u.RawQuery != "", u.Fragment != "":
		e.Reject(variable, "must be a URL such as https://api.example, without user, query or fragment")
		return ""
	case u.Scheme == "http" && u.Hostname() != "localhost" && !net.ParseIP(u.Hostname()).IsLoopback():
		e.Reject(variable, "must be https; plain http is for loopback hosts")
		return ""
	}
	return OriginOf(value)
}

// OriginOf returns the origin of a URL that has been checked.
func OriginOf(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + strings.ToLower(u.Host)
}

// Listen listens at ADDR, and returns the origin that browsers use for it, or ""
// if ADDR names no host.
func (e *Environment) Listen() (l net.Listener, origin string) {
	addr := e.Get("ADDR", "localhost:8080")
	host, port, err := net.SplitHostPort(addr)
	if err != nil || port == "" {
		e.Reject("ADDR", "must be HOST:PORT such as localhost:8080")
		return nil, ""
	}
	l, err = net.Listen("tcp", addr)
	if err != nil {
		e.Reject("ADDR", "is not available ("+addr+"): "+cause(err).Error())
		return nil, ""
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		return l, ""
	}
	_, port, _ = net.SplitHostPort(l.Addr().String()) // ADDR may say 0
	return l, "http://" + net.JoinHostPort(host, port)
}

// RedirectURL returns MXM_REDIRECT_URL, or the callback at origin.
func (e *Environment) RedirectURL(origin string) string {
	own := os.Getenv("MXM_REDIRECT_URL")
	if own == "" && origin == "" && e.Err() == nil {
		e.Reject("MXM_REDIRECT_URL", "is required when ADDR names no host")
	}
	return cmp.Or(own, origin+"/auth/musixmatch/callback")
}

// cause returns the innermost error, which contains no address.
func cause(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

// variables names the variable of each field of core.Config.
var variables = map[string]string{
	"ClientID": "MXM_CLIENT_ID", "ClientSecret": "MXM_CLIENT_SECRET", "RedirectURL": "MXM_REDIRECT_URL",
	"BaseURL": "MXM_BASE_URL", "APIOrigins": "MXM_API_URL", "RefreshTimeout": "MXM_REFRESH_TIMEOUT", "Keys": "MXM_KEYS",
}

// NewAuth is core.New, but its errors name variables instead of fields.
func NewAuth(cfg core.Config) (*core.Auth, error) {
	auth, err := core.New(cfg)
	if err == nil {
		return auth, nil
	}
	var env Environment
	for _, line := range strings.Split(err.Error(), "\n") {
		field, problem, _ := strings.Cut(line, ": ")
		field, _, _ = strings.Cut(field, "[")
		if variable, ok := variables[field]; ok {
			env.Reject(variable, problem)
		}
	}
	return nil, cmp.Or(env.Err(), err)
}

// RandomKeys returns a sealing key for a process that shares no store.
func RandomKeys() [][]byte {
	key := make([]byte, 32)
	rand.Read(key)
	return [][]byte{key}
}
