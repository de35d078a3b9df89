package core

import (
	"cmp"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/mxmconnect/mxmconnect/core/internal/seal"
	"github.com/mxmconnect/mxmconnect/core/internal/session"
)

const (
	flowCookie  = "mxm_flow_"
	flowLife    = 10 * time.Minute
	maxFlows    = 5 // per browser: tabs that sign in at the same time
	flowPurpose = "flow"
	signInFlow  = "sign-in"
	connectFlow = "connect"
	maxFlowSize = 2500 // bytes; keeps the cookie below 3.5 KiB, as browsers drop one of 4 KiB
)

// flow is one attempt to sign in. It is sealed in a cookie of its own, so an
// anonymous visitor fills no store and every tab has its own attempt.
type flow struct {
	State    []byte // SHA-256
	Verifier string
	Purpose  string
	AppUser  []byte // see appUserSum
	Created  time.Time
	ReturnTo string
}

const flowFields = 6

// encode returns the fields as lines. ReturnTo is the last, and may be anything.
// JSON would be several times as dear, and half as long again.
func (f flow) encode() []byte {
	return []byte(strings.Join([]string{
		hex.EncodeToString(f.State), f.Verifier, f.Purpose, hex.EncodeToString(f.AppUser),
		strconv.FormatInt(f.Created.UnixNano(), 10), f.ReturnTo,
	}, "\n"))
}

func decodeFlow(text string) (f flow, err error) {
	v := strings.SplitN(text, "\n", flowFields)
	if len(v) != flowFields {
		return flow{}, seal.ErrUnsealable
	}
	state, err1 := hex.DecodeString(v[0])
	appUser, err2 := hex.DecodeString(v[3])
	created, err3 := strconv.ParseInt(v[4], 10, 64)
	if cmp.Or(err1, err2, err3) != nil {
		return flow{}, seal.ErrUnsealable
	}
	return flow{state, v[1], v[2], appUser, time.Unix(0, created), v[5]}, nil
}

// startFlow begins an attempt and gives the browser its cookie. It returns the
// state, which names the attempt, and the flow.
func (a *Auth) startFlow(w http.ResponseWriter, r *http.Request, purpose, appUser, returnTo string) (state string, f flow) {
	state = seal.RandomString()
	f = flow{
		State:    sum(state),
		Verifier: oauth2.GenerateVerifier(),
		ReturnTo: returnTo,
		Purpose:  purpose,
		AppUser:  appUserSum(appUser),
		Created:  time.Now(),
	}
	a.evictFlows(w, r)
	name := a.flowCookieName(state)
	plain := f.encode()
	if len(plain) > maxFlowSize {
		f.ReturnTo = "" // the browser arrives elsewhere, but the attempt is not lost
		plain = f.encode()
	}
	sealed := a.keys.Seal(flowPurpose, a.flowPlace(name), plain)
	http.SetCookie(w, a.newFlowCookie(name, base64.RawURLEncoding.EncodeToString(sealed), int(flowLife.Seconds())))
	return state, f
}

// openFlow returns the flow that state names, if this browser started it and
// it has not expired.
func (a *Auth) openFlow(r *http.Request, state string) (flow, error) {
	name := a.flowCookieName(state)
	cookies := r.CookiesNamed(name)
	if len(cookies) != 1 {
		return flow{}, errors.New("this browser has no such attempt")
	}
	f, err := a.unsealFlow(cookies[0])
	if err != nil {
		return flow{}, err
	}
	if subtle.ConstantTimeCompare(sum(state), f.State) != 1 {
		return flow{}, errors.New("the attempt belongs to another state")
	}
	if age := time.Since(f.Created); age > flowLife {
		return flow{}, errors.New("the attempt has expired")
	}
	return f, nil
}

func (a *Auth) unsealFlow(c *http.Cookie) (f flow, err error) {
	sealed, err := base64.RawURLEncoding.DecodeString(c.Value)
	if err != nil {
		return flow{}, seal.ErrUnsealable
	}
	plain, err := a.keys.Open(flowPurpose, a.flowPlace(c.Name), sealed)
	if err != nil {
		return flow{}, err
	}
	return decodeFlow(string(plain))
}

// flowPlace names all that an attempt belongs to: its cookie, and the client at
// an authorization server with the address to which the answer comes. None of
// them has a NUL.
func (a *Auth) flowPlace(cookie string) string {
	return strings.Join([]string{cookie, a.cfg.BaseURL, a.cfg.ClientID, a.cfg.RedirectURL}, "\x00")
}

// evictFlows makes room for one more attempt. It removes unreadable attempts
// first, then the oldest.
func (a *Auth) evictFlows(w http.ResponseWriter, r *http.Request) {
	type attempt struct {
		name    string
		created time.Time
	}
	var attempts []attempt
	prefix := a.flowCookieName("")
	prefix = prefix[:len(prefix)-flowNameSize]
	for _, c := range r.Cookies() {
		if strings.HasPrefix(c.Name, prefix) && !slices.ContainsFunc(attempts, func(o attempt) bool { return o.name == c.Name }) {
			f, _ := a.unsealFlow(c) // unreadable: the zero time is the oldest
			attempts = append(attempts, attempt{c.Name, f.Created})
		}
	}
	slices.SortFunc(attempts, func(x, y attempt) int { return x.created.Compare(y.created) })
	for len(attempts) >= maxFlows {
		http.SetCookie(w, a.newFlowCookie(attempts[0].name, "", -1))
		attempts = attempts[1:]
	}
}

func (a *Auth) clearFlow(w http.ResponseWriter, state string) {
	http.SetCookie(w, a.newFlowCookie(a.flowCookieName(state), "", -1))
}

const flowNameSize = 16

func (a *Auth) flowCookieName(state string) string {
	name := flowCookie + hex.EncodeToString(sum(state)[:flowNameSize/2])
	if a.secure {
		return session.HostPrefix + name
	}
	return name
}

// appUserSum returns a hash that is enough to recognize a user. The user's name
// may be too long for a cookie.
func appUserSum(appUser string) []byte {
	if appUser == "" {
		return nil
	}
	return sum(appUser)
}

func sum(s string) []byte {
	hash := sha256.Sum256([]byte(s))
	return hash[:]
}

func (a *Auth) newFlowCookie(name, value string, maxAge int) *http.Cookie {
	return &http.Cookie{
		Name: name, Value: value, Path: "/", MaxAge: maxAge,
		Secure: a.secure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
}
