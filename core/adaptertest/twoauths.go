package adaptertest

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"github.com/mxmconnect/mxmconnect/core"
)

var twoAuthsCases = []testCase{
	{"two Auths", "of two Auths on one site, RequireUser lets in only those who have signed in with its own, and UserID behind it is that user", func(t *testing.T, adapter Adapter) {
		show := func(_ *site, w http.ResponseWriter, r *http.Request) error {
			_, err := fmt.Fprint(w, core.UserID(r.Context()))
			return err
		}
		for _, outside := range []bool{false, true} {
			for _, shared := range []bool{false, true} {
				for _, noMiddleware := range []bool{false, true} {
					t.Run(fmt.Sprintf("outside=%t shared=%t noMiddleware=%t", outside, shared, noMiddleware), func(t *testing.T) {
						s := start(t, adapter, setup{
							noMiddleware: noMiddleware,
							pages:        []page{{"/studio", true, show}},
							second: &second{
								outside: outside,
								pages:   []page{{"/office", false, show}, {"/both", true, show}},
								config: func(c *core.Config) {
									c.ClientID, c.RedirectURL = "staff", c.RedirectURL[:len(c.RedirectURL)-len(base+"/callback")]+"/staff/callback"
									c.OnLogin = func(_ context.Context, l *core.Login) error {
										if l.UserID != bob {
											return core.ErrLoginRefused
										}
										return nil
									}
									if !shared {
										c.Sessions = core.NewSessions(core.NewMemory())
										c.Sessions.Cookie.Name = "staff_session"
									}
								},
							},
						})
						config := s.mxm.Config(s.url)
						s.mxm.AddClient("staff", config.ClientSecret, s.url+"/staff/callback")
						joinStaff := func(b *browser) *answer {
							return b.visit(b.do(http.MethodGet, b.visit("/staff/login").location()).location())
						}

						b := s.browser()
						b.signIn()
						equal(t, "an artist's page", b.visit("/studio").body, alice)
						for range 2 {
							redirected(t, "a page for staff", b.visit("/office"), "/staff/login?return_to=%2Foffice")
							redirected(t, "a page for both", b.visit("/both"), "/staff/login?return_to=%2Fboth")
							equal(t, "a request by a script", b.do(http.MethodGet, "/office", fetch...).status, http.StatusUnauthorized)
							refused(t, "the allow-list", joinStaff(b), http.StatusForbidden, "login_refused")
						}
						s.mxm.SignInAs(bob)
						equal(t, "the allow-list", joinStaff(b).status, http.StatusSeeOther)
						equal(t, "an artist's page", b.visit("/studio").body, alice)
						equal(t, "a page for staff", b.visit("/office").body, bob)
						inner := bob
						if outside {
							inner = alice
						}
						equal(t, "a page for both", b.visit("/both").body, inner)

						member := s.browser()
						joinStaff(member)
						equal(t, "a page for staff", member.visit("/office").body, bob)
						redirected(t, "an artist's page", member.visit("/studio"), loginPath+"?return_to=%2Fstudio")
					})
				}
			}
		}
	}},
}
