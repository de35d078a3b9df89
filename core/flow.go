package core

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/mxmconnect/mxmconnect/core/internal/seal"
	"github.com/mxmconnect/mxmconnect/core/internal/session"
)

// The cookies of all attempts of a browser are below 4 KiB together, however
// many begin at the same moment: proxies refuse requests with larger headers, and
// any site can open a login in a popup. So a long return_to is in a cookie of its
// own, of which there is one. The attempt that began last has it.
const (
	flowCookie    = "mxm_flow_"
	returnCookie  = "mxm_return_to"
	flowLife      = 10 * time.Minute
	maxFlows      = 5 // per browser: tabs that sign in at the same time
	maxReturnTo   = 1 << 10
	longReturnTo  = 192
	maxSeen       = 100 // flow cookies of a request that are looked at
	maxEvictions  = 8   // per answer, so that its headers are below 4 KiB
	flowPurpose   = "flow"
	returnPurpose = "return_to"
)

// flow is one attempt to sign in. It is sealed in a cookie of its own, so an
// anonymous visitor fills no store and every tab has its own attempt.
type flow struct {
	State    []byte // SHA-256
	AppUser  []byte // SHA-256; of nobody in sign-in mode
	Verifier string
	ReturnTo string // "" in the cookie if it is long

	cookies []string // where it is kept
}

const verifierSize = 43

func (f flow) encode() []byte {
	return slices.Concat(f.State, f.AppUser, []byte(f.Verifier), []byte(f.ReturnTo))
}

func decodeFlow(plain []byte) (flow, error) {
	const appUser, verifier, returnTo = sha256.Size, 2 * sha256.Size, 2*sha256.Size + verifierSize
	if len(plain) < returnTo {
		return flow{}, seal.ErrUnsealable
	}
	return flow{
		State: plain[:appUser], AppUser: plain[appUser:verifier],
		Verifier: string(plain[verifier:returnTo]), ReturnTo: string(plain[returnTo:]),
	}, nil
}

// startFlow begins an attempt and gives the browser its cookie. It returns the
// state, which names the attempt, and the flow.
func (a *Auth) startFlow(w http.ResponseWriter, r *http.Request, appUser, returnTo string) (state string, f flow) {
	if len(returnTo) > maxReturnTo {
		returnTo = a.afterLogin()
	}
	state = seal.RandomString()
	f = flow{State: sum(state), AppUser: sum(appUser), Verifier: oauth2.GenerateVerifier(), ReturnTo: returnTo}
	a.evictFlows(w, r)
	name := a.cookieName(flowCookie + flowTime(time.Now()) + flowID(state))
	if len(returnTo) > longReturnTo {
		f.ReturnTo = ""
		a.setFlowCookie(w, a.cookieName(returnCookie), a.keys.Seal(returnPurpose, a.flowPlace(name), []byte(returnTo)))
	}
	a.setFlowCookie(w, name, a.keys.Seal(flowPurpose, a.flowPlace(name), f.encode()))
	return state, f
}

// openFlow returns the flow that state names, if this browser started it and
// it has not expired.
func (a *Auth) openFlow(r *http.Request, state string) (f flow, err error) {
	var name, value, returnTo string
	found, id := 0, flowID(state)
	for n, v := range session.Cookies(r) {
		if n == a.cookieName(returnCookie) {
			returnTo = v
		} else if created, ok := a.flowCreated(n); ok && strings.HasSuffix(n, id) && !expired(created) {
			name, value = n, v
			found++
		}
	}
	if found != 1 {
		return flow{}, errors.New("this browser has no such attempt")
	}
	plain, err := a.unseal(flowPurpose, name, value)
	if err != nil {
		return flow{}, err
	}
	if f, err = decodeFlow(plain); err != nil {
		return flow{}, err
	}
	if subtle.ConstantTimeCompare(sum(state), f.State) != 1 {
		return flow{}, errors.New("the attempt belongs to another state")
	}
	f.cookies = []string{name}
	if long, err := a.unseal(returnPurpose, name, returnTo); err == nil {
		f.ReturnTo = string(long)
		f.cookies = append(f.cookies, a.cookieName(returnCookie))
	}
	return f, nil
}

// unseal opens the value of a cookie that belongs to the attempt in flowCookie.
func (a *Auth) unseal(purpose, flowCookie, value string) (plain []byte, err error) {
	sealed, err := base64.RawURLEncoding.DecodeString(value)
	if err != nil {
		return nil, seal.ErrUnsealable
	}
	return a.keys.Open(purpose, a.flowPlace(flowCookie), sealed)
}

// flowPlace names all that an attempt belongs to: its cookie, which says when it
// began, what it is for, and the client at an authorization server with the
// address to which the answer comes. None of them has a NUL.
func (a *Auth) flowPlace(cookie string) string {
	mode := "sign-in"
	if a.cfg.AppUser != nil {
		mode = "connect"
	}
	return strings.Join([]string{cookie, mode, a.cfg.BaseURL, a.cfg.ClientID, a.cfg.RedirectURL}, "\x00")
}

// evictFlows makes room for one more attempt. It removes attempts that cannot be
// completed, then the oldest. It opens none: the name says how old one is.
func (a *Auth) evictFlows(w http.ResponseWriter, r *http.Request) {
	var names, gone []string
	for name := range session.Cookies(r) {
		created, ok := a.flowCreated(name)
		switch {
		case !ok:
		case expired(created):
			gone = append(gone, name)
		default:
			names = append(names, name)
		}
		if len(names)+len(gone) == maxSeen {
			break
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	gone = append(gone, names[:max(0, len(names)-maxFlows+1)]...)
	for _, name := range gone[:min(len(gone), maxEvictions)] {
		a.removeFlowCookie(w, name)
	}
}

// clearFlow removes what the browser has of an attempt.
func (a *Auth) clearFlow(w http.ResponseWriter, f flow) {
	for _, name := range f.cookies {
		a.removeFlowCookie(w, name)
	}
}

// The name of a flow's cookie ends with the time when it began, in microseconds
// and hexadecimal, and with its ID. So names are in the order of their age.
const (
	flowTimeSize = 13
	flowIDSize   = 16
)

func flowTime(t time.Time) string { return fmt.Sprintf("%0*x", flowTimeSize, t.UnixMicro()) }

func flowID(state string) string { return hex.EncodeToString(sum(state)[:flowIDSize/2]) }

// flowCreated returns when the flow in a cookie of that name began.
func (a *Auth) flowCreated(cookie string) (created time.Time, ok bool) {
	end, ok := strings.CutPrefix(cookie, a.cookieName(flowCookie))
	if !ok || len(end) != flowTimeSize+flowIDSize {
		return time.Time{}, false
	}
	µs, err := strconv.ParseInt(end[:flowTimeSize], 16, 64)
	return time.UnixMicro(µs), err == nil
}

// expired reports whether a flow of that time cannot be completed any more.
// Clocks of instances differ, but not by so much that it begins in the future.
func expired(created time.Time) bool { return time.Since(created).Abs() > flowLife }

func sum(s string) []byte {
	hash := sha256.Sum256([]byte(s))
	return hash[:]
}

func (a *Auth) cookieName(name string) string {
	if a.secure {
		return session.HostPrefix + name
	}
	return name
}

func (a *Auth) setFlowCookie(w http.ResponseWriter, name string, sealed []byte) {
	http.SetCookie(w, a.newFlowCookie(name, base64.RawURLEncoding.EncodeToString(sealed), int(flowLife.Seconds())))
}

func (a *Auth) removeFlowCookie(w http.ResponseWriter, name string) {
	http.SetCookie(w, a.newFlowCookie(name, "", -1))
}

func (a *Auth) newFlowCookie(name, value string, maxAge int) *http.Cookie {
	return &http.Cookie{
		Name: name, Value: value, Path: "/", MaxAge: maxAge,
		Secure: a.secure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
}
