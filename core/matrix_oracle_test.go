package core_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

// What makes the oracle wrong, or time.
var oracleFaults = []fault{
	{"oracle wrongly inactive twice, holder gone or slow; wrongly active twice", tests{
		"inactive, holder gone": func(t *testing.T, w *world) {
			a, b := w.start(), w.start()
			w.signIn(a)
			untilDue()
			w.killAfterIntent(a)
			w.srv.Fail(mxmtest.Metadata, mxmtest.Status(200, `{"active":false}`, 0), mxmtest.Always())
			b.TokenSource(t.Context(), alice).Token()
			time.Sleep(3 * lease)
			w.srv.ClearFaults()
			w.lost("lost_response", 0, b)
		},
		"inactive, holder there": func(t *testing.T, w *world) { // its own replay makes it harmless
			a := w.start()
			w.signIn(a)
			untilDue()
			w.srv.Fail(mxmtest.Token, mxmtest.DropRequest)
			w.srv.Fail(mxmtest.Metadata, mxmtest.Status(200, `{"active":false}`, 0), mxmtest.Times(2))
			a.TokenSource(t.Context(), alice).Token()
			time.Sleep(3 * lease)
			a.token(t)
			w.unharmed(2, a)
		},
		"active": func(t *testing.T, w *world) {
			w.srv.Configure(func(s *mxmtest.Settings) { s.DeathLag = time.Minute })
			a := w.start()
			w.signIn(a)
			untilDue()
			w.srv.Fail(mxmtest.Token, mxmtest.DropResponse)
			a.TokenSource(t.Context(), alice).Token()
			time.Sleep(5 * lease)
			w.lost("lost_response", 2, a)
		},
		"inactive once": func(t *testing.T, w *world) { // V9
			a := w.start()
			w.signIn(a)
			untilDue()
			w.srv.Fail(mxmtest.Token, mxmtest.DropRequest)
			w.srv.Fail(mxmtest.Metadata, mxmtest.Status(200, `{"active":false}`, 0))
			a.token(t)
			time.Sleep(2*settle + time.Second)
			require.Len(t, w.refreshes(), 1, "it takes two looks that agree")
			time.Sleep(settle)
			require.Len(t, w.refreshes(), 2)
			w.unharmed(2, a)
		},
	}},
	{"VM pause that freezes the monotonic clock; a POST that lands after settle", tests{
		"a POST that lands after settle": func(t *testing.T, w *world) {
			a := w.start()
			w.signIn(a)
			untilDue()
			w.srv.Fail(mxmtest.Token, mxmtest.SlowRequest(timeout+3*settle))
			a.TokenSource(t.Context(), alice).Token()
			time.Sleep(10 * time.Minute)
			w.settled(a)
		},
	}},
}
