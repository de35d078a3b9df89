package core

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// P6: whom a conflict is decided for. The order of the rules counts.
func TestClaimOf(t *testing.T) {
	mine := grant{GrantID: "g", Gen: 8, Access: "a", Refresh: "r", Status: grantLive}
	const old = 7
	with := func(change func(*grant)) grant {
		g := grant{GrantID: "g", Gen: old, Access: "a0", Refresh: "r0", Status: grantLive}
		change(&g)
		return g
	}
	for name, c := range map[string]struct {
		stored grant
		found  bool
		want   claim
	}{
		"the store regressed":                 {with(func(g *grant) { g.Gen = 6 }), true, claimOver},
		"to a grant that was replaced":        {with(func(g *grant) { g.Gen, g.GrantID = 6, "before" }), true, claimOver},
		"to a mark":                           {with(func(g *grant) { g.Gen, g.Status = 6, grantReconnect }), true, claimOver},
		"missing":                             {grant{}, false, claimDrop},
		"tombstone":                           {with(func(g *grant) { g.Gen, g.Status = 8, grantDisconnected }), true, claimDrop},
		"another login":                       {with(func(g *grant) { g.Gen, g.GrantID = 9, "other" }), true, claimDrop},
		"mine":                                {mine, true, claimDone},
		"mine, marked since":                  {with(func(g *grant) { *g = mine; g.Status = grantReconnect }), true, claimDone},
		"others at my gen":                    {with(func(g *grant) { g.Gen, g.Access, g.Refresh = 8, "b", "s" }), true, claimAsk},
		"others later":                        {with(func(g *grant) { g.Gen, g.Access, g.Refresh = 12, "b", "s" }), true, claimAsk},
		"others later, marked":                {with(func(g *grant) { g.Gen, g.Access, g.Status = 12, "b", grantReconnect }), true, claimAsk},
		"a mark that came too early":          {with(func(g *grant) { g.Status = grantReconnect }), true, claimOver},
		"a foreign intent on the spent token": {with(func(g *grant) { g.Intent = &intent{ID: "x"} }), true, claimOver},
		"no intent on the spent token":        {with(func(*grant) {}), true, claimOver},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, claimOf(old, mine, c.stored, c.found)) })
	}
}

func TestTimesFollowFromTheFirst(t *testing.T) {
	d := timesFrom(30 * time.Second)
	require.Equal(t, times{post: 30 * time.Second, lease: 45 * time.Second, settle: 15 * time.Second, budget: 2 * time.Second}, d)
	for _, timeout := range []time.Duration{time.Second, 7 * time.Second, 5 * time.Minute} {
		d := timesFrom(timeout)
		require.LessOrEqual(t, d.budget+d.post, d.lease, "others wait until the POST is over")
	}
	require.Equal(t, 90*time.Second, d.window(time.Hour, 0))
	require.Equal(t, 60*time.Second, d.window(300*time.Second, 0), "20 % of the life")
	for range 1000 {
		w := d.window(time.Hour, jitter())
		require.GreaterOrEqual(t, w, 90*time.Second, "jitter only enlarges")
		require.Less(t, w, 113*time.Second)
		b := d.backoff(3)
		require.GreaterOrEqual(t, b, 800*time.Millisecond)
		require.Less(t, b, time.Second)
	}
	require.Less(t, d.backoff(1000), 19*time.Second)
}

// However long a doubt lasts, little is remembered of it: the intent that is
// stored, in any case.
func TestDoubtIsBounded(t *testing.T) {
	var d doubt
	var stored *intent
	for n := range 1000 {
		in := &intent{ID: fmt.Sprint(n), Attempt: n + 1}
		d.add(in, stored, false).sent = true
		require.LessOrEqual(t, len(d.own), maxOwnIntents)
		require.True(t, stored == nil || d.of(stored) != nil)
		stored = in
	}
}

// Of a token that was refused at its import the store is rid some day; a
// user's mark stays.
func TestRefusedImportsExpire(t *testing.T) {
	a := newTestAuth(t, nil)
	for sub, expires := range map[string]bool{importPrefix + "x": true, "mxm:1": false} {
		_, err := a.grants.commit(t.Context(), "", grant{Sub: sub, Status: grantReconnect})
		require.NoError(t, err)
		rec, found, err := a.cfg.Grants.FindGrant(t.Context(), a.grants.key(sub))
		require.NoError(t, err)
		require.True(t, found)
		require.Equal(t, expires, !rec.Expiry.IsZero())
	}
}

func TestSendBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := timesFrom(30 * time.Second)
		began := time.Now()
		require.True(t, d.inBudget(began))
		time.Sleep(2 * time.Second)
		require.True(t, d.inBudget(began))
		time.Sleep(time.Nanosecond)
		require.False(t, d.inBudget(began))
	})
}

func TestNobodyIsRememberedForNothing(t *testing.T) {
	a := newTestAuth(t, nil)
	for n := range 100 {
		_, err := a.TokenSource(t.Context(), fmt.Sprint("nobody ", n)).Token()
		require.ErrorIs(t, err, ErrReconnect)
		require.Eventually(t, func() bool { return a.refresher.keepers.find(fmt.Sprint("nobody ", n)) == nil }, time.Second, time.Millisecond)
	}
}
