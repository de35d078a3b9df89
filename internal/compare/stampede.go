package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

// A stampede: many requests of one user arrive at the moment the user's access
// token has expired, at one instance or at two that share a store, and the
// refresh token works once. The token endpoint takes 20 ms. Besides, pages that
// ask for no token, but have the session open all the while, are under way.
const (
	stampedeRequests = 50
	slowPages        = 5
	slowPage         = 60 * time.Millisecond
	endpointTakes    = 20 * time.Millisecond
	atATime          = 5 // users
)

type column struct {
	title     string
	instances int
	reuse     mxmtest.ReusePolicy
}

var columns = []column{
	{"1 instance", 1, mxmtest.Plain},
	{"2 instances", 2, mxmtest.Plain},
	{"2 instances, reuse ends the grant", 2, mxmtest.RevokeFamily},
}

// storm is what a recipe came to in every column.
type storm struct {
	recipe
	cells []cell
}

type cell struct {
	posts  float64 // of a refresh token, per user
	failed float64 // share of the requests that got no token
	lost   float64 // share of the users whose stored refresh token is dead afterwards
}

func (c cell) String() string {
	return fmt.Sprintf("%.3g / %s / %s", c.posts, percent(c.failed), percent(c.lost))
}

func percent(share float64) string {
	if share == 0 {
		return "0"
	}
	if share >= 0.1 {
		return fmt.Sprintf("%.0f %%", 100*share)
	}
	return fmt.Sprintf("%.1f %%", 100*share)
}

// recipe is a way to keep tokens.
type recipe struct {
	name string
	ours bool
	idle bool
	// deploy starts instances that share a store.
	deploy func(musixmatch *mxmtest.Server, instances int, idle bool) app
}

type app interface {
	// signIn lets a user in, and returns the browser's cookies.
	signIn(userID string) []*http.Cookie
	// instance serves GET /token, which needs a token, and GET /page, which is slow.
	instance(i int) http.Handler
	// lost reports whether what is stored for the user is of no use any more.
	lost(userID string, cookies []*http.Cookie) bool
	close()
}

func stampede(users int) (storms []storm) {
	for _, r := range recipes() {
		s := storm{recipe: r}
		for _, c := range columns {
			s.cells = append(s.cells, r.storm(c, users))
		}
		storms = append(storms, s)
	}
	return storms
}

func (r recipe) storm(c column, users int) cell {
	musixmatch := mxmtest.NewServer()
	defer musixmatch.Close()
	// Tokens of two hours ago that were good for one.
	musixmatch.Configure(func(s *mxmtest.Settings) { s.Reuse, s.DateSkew = c.reuse, -2*time.Hour })
	app := r.deploy(musixmatch, c.instances, r.idle)
	defer app.close()
	browsers := make([][]*http.Cookie, users)
	for i := range browsers {
		browsers[i] = app.signIn(name(i))
		musixmatch.ExpireAccessTokens(name(i))
	}
	musixmatch.Configure(func(s *mxmtest.Settings) { s.DateSkew = 0 })
	musixmatch.ResetRequests()
	musixmatch.Fail(mxmtest.Token, mxmtest.SlowRequest(endpointTakes), mxmtest.Always())

	var failed, next atomic.Int64
	var workers sync.WaitGroup
	for range atATime {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < users; i = int(next.Add(1)) - 1 {
				failed.Add(rush(app, c.instances, browsers[i]))
			}
		})
	}
	workers.Wait()

	posts := 0
	for _, request := range musixmatch.Requests() {
		if request.GrantType == "refresh_token" {
			posts++
		}
	}
	musixmatch.ClearFaults()
	lost := 0
	for i := range browsers {
		if app.lost(name(i), browsers[i]) {
			lost++
		}
	}
	return cell{
		posts:  float64(posts) / float64(users),
		failed: float64(failed.Load()) / float64(users*stampedeRequests),
		lost:   float64(lost) / float64(users),
	}
}

// rush is one user's stampede; it returns how many requests got no token.
func rush(app app, instances int, cookies []*http.Cookie) int64 {
	var failed atomic.Int64
	var all sync.WaitGroup
	for i := range stampedeRequests + slowPages {
		all.Go(func() {
			path := "/token"
			if i >= stampedeRequests {
				path = "/page"
			}
			r := httptest.NewRequest(http.MethodGet, "http://127.0.0.1:8080"+path, nil)
			for _, c := range cookies {
				r.AddCookie(c)
			}
			w := httptest.NewRecorder()
			app.instance(i%instances).ServeHTTP(w, r)
			if w.Code != http.StatusOK {
				failed.Add(1)
			}
		})
	}
	all.Wait()
	return failed.Load()
}

func name(i int) string { return fmt.Sprintf("mxm:%021d", i+1) }
