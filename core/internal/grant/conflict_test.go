package grant

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core/internal/musixmatch"
	"github.com/mxmconnect/mxmconnect/core/internal/seal"
)

// during lets something happen while a refresh is under way at the server.
func (b *bench) during(what func()) {
	b.post = func(n int, rotate func() musixmatch.Answer) musixmatch.Answer {
		if n == 1 {
			what()
		}
		return rotate()
	}
}

// others replaces the stored tokens by those of a taker, five generations later.
func (b *bench) others() {
	b.put(func(gr *grant) {
		gr.Generation, gr.Access, gr.Refresh, gr.Intent, gr.MaxLease = gr.Generation+5, "x", "y", nil, 5*time.Minute
		gr.Issued = time.Now()
	})
}

func TestNewTokensGoOverOthersThatAreDead(t *testing.T) {
	onBench(t, func(b *bench) {
		time.Sleep(life)
		before := b.stored().Generation
		b.during(b.others)
		late := true
		b.look = func(access string, alive bool) (bool, error) {
			if access == "a2" && late { // a new token may be called inactive: one look decides nothing
				late = false
				return false, nil
			}
			return alive, nil
		}
		require.Equal(t, "a2", b.token())
		time.Sleep(time.Minute)
		gr := b.stored()
		require.Equal(t, before+6, gr.Generation, "after all that was stored")
		require.Equal(t, 5*time.Minute, gr.MaxLease)
		require.Nil(t, gr.Intent)
		require.Equal(t, "r2", gr.Refresh)
	})
}

func TestNewTokensThatAreDeadGiveWay(t *testing.T) {
	onBench(t, func(b *bench) {
		time.Sleep(life)
		b.during(b.others)
		looks := 0
		b.look = func(access string, _ bool) (bool, error) {
			if access == "a2" {
				looks++
				return looks == 1, nil // a token that is being killed may look alive
			}
			return access == "x", nil
		}
		b.token() // may be a2, while nobody knows
		time.Sleep(time.Minute)
		require.Equal(t, "x", b.token())
		require.Equal(t, 3, looks)
		require.Equal(t, "y", b.stored().Refresh)
		require.Empty(t, b.list(&b.revoked), "they are of the same family")
		require.Equal(t, []string{"failed dropped"}, b.list(&b.events))
	})
}

// Tokens that arrive after a disconnect are revoked.
func TestNewTokensAfterADisconnect(t *testing.T) {
	onBench(t, func(b *bench) {
		time.Sleep(life)
		other := b.instance()
		b.during(func() {
			ended, err := other.End(b.ctx, user)
			require.NoError(b.t, err)
			require.True(b.t, ended)
		})
		_, err := b.m.Token(b.ctx, user)
		require.Equal(t, Reconnect, outcomeOf(err))
		require.Equal(t, []string{"r1", "r2"}, b.list(&b.revoked))
		require.Equal(t, statusDisconnected, b.stored().Status)
		require.Nil(t, b.m.Cached(user))
	})
}

// Tokens of a grant that a new login has replaced are not: it might end the login.
func TestNewTokensAfterAnotherLogin(t *testing.T) {
	onBench(t, func(b *bench) {
		time.Sleep(life)
		other := b.instance()
		b.during(func() {
			login := b.tokens()
			login.Access, login.Refresh = "x", "y"
			require.NoError(b.t, other.Put(b.ctx, user, login))
		})
		require.Equal(t, "x", b.token())
		require.Empty(t, b.list(&b.revoked))
		require.Equal(t, "y", b.stored().Refresh)
		require.False(t, b.stored().ExpiryKnown, "a refresh that was under way may have killed its access token")
	})
}

// A mark that came too early is lifted, and that is reported.
func TestNewTokensLiftAMark(t *testing.T) {
	onBench(t, func(b *bench) {
		time.Sleep(life)
		b.during(func() {
			b.put(func(gr *grant) { gr.Status, gr.Reason, gr.Intent = statusReconnect, ReasonLostResponse, nil })
		})
		require.Equal(t, "a2", b.token())
		require.Equal(t, statusLive, b.stored().Status)
		require.Equal(t, []string{"refreshed ", "repaired mark_lifted"}, b.list(&b.events))
	})
}

// New tokens are written however long the store takes to take them, and are
// served meanwhile.
func TestNewTokensAreWrittenWhateverItTakes(t *testing.T) {
	onBench(t, func(b *bench) {
		time.Sleep(life)
		b.during(func() {
			down := time.Now().Add(time.Hour / 2)
			b.store.setFault(func(write func() error) error {
				if time.Now().Before(down) {
					return errors.New("down")
				}
				return b.noted(write)
			})
		})
		began := time.Now()
		require.Equal(t, "a2", b.token())
		require.Less(t, time.Since(began), time.Second)
		require.Equal(t, "r1", b.stored().Refresh)
		time.Sleep(time.Hour/2 + time.Minute)
		require.Equal(t, "r2", b.stored().Refresh)
	})
}

// A server that does not rotate says so by the same refresh token, or by none.
func TestServerThatDoesNotRotate(t *testing.T) {
	for _, refresh := range []string{"", "r1"} {
		onBench(t, func(b *bench) {
			time.Sleep(life)
			b.post = func(_ int, rotate func() musixmatch.Answer) musixmatch.Answer {
				a := rotate()
				a.Tokens.Refresh = refresh
				return a
			}
			require.Equal(t, "a2", b.token())
			gr := b.stored()
			require.Equal(t, "r1", gr.Refresh)
			require.True(t, gr.NotRotated)
			synctest.Wait()
			require.Equal(t, []string{"refreshed unrotated"}, b.list(&b.events))
		})
	}
}

func TestLessScopeIsReported(t *testing.T) {
	onBench(t, func(b *bench) {
		b.put(func(gr *grant) { gr.Scope = "read write" })
		time.Sleep(life)
		require.Equal(t, "a2", b.token())
		require.Equal(t, "read", b.stored().Scope)
		require.Equal(t, []string{"refreshed scope_reduced"}, b.list(&b.events))
	})
	require.True(t, Covers("a b c", "c a"))
	require.False(t, Covers("a b", "a c"))
}

// A refresh that returns the tokens of somebody else ends the grant.
func TestTokensOfAnotherUser(t *testing.T) {
	onBench(t, func(b *bench) {
		time.Sleep(life)
		truth := b.fake.introspect
		b.fake.introspect = func(access string) (musixmatch.Introspection, error) {
			in, err := truth(access)
			if access == "a2" {
				in.Sub = "mxm:2"
			}
			return in, err
		}
		_, _ = b.m.Token(b.ctx, user)
		synctest.Wait()
		b.requireLost(ReasonSubChanged)
	})
}

// invalid_grant for a first attempt means revoked; after a doubt it may mean that
// the lost answer was the last.
func TestInvalidGrant(t *testing.T) {
	onBench(t, func(b *bench) {
		time.Sleep(life)
		b.pair = 9
		_, err := b.m.Token(b.ctx, user)
		require.Equal(t, Reconnect, outcomeOf(err))
		require.Equal(t, []string{"r1"}, b.list(&b.posts))
		b.requireLost(ReasonRevoked)
	})
	onBench(t, func(b *bench) {
		b.due()
		b.post = func(n int, rotate func() musixmatch.Answer) musixmatch.Answer {
			if a := rotate(); n > 1 {
				return a
			}
			return lost
		}
		_, err := b.m.Token(b.ctx, user)
		require.Equal(t, Reconnect, outcomeOf(err))
		b.requireLost(ReasonLostResponse)
	})
}

// It means nothing if a sibling has won meanwhile.
func TestInvalidGrantBesideASibling(t *testing.T) {
	onBench(t, func(b *bench) {
		time.Sleep(life)
		b.during(func() {
			b.others()
			b.rotate("r1")
		})
		require.Equal(t, "x", b.token())
		require.Equal(t, []string{"failed race_lost"}, b.list(&b.events))
	})
}

// What the server refuses for what the request is, it refuses at once and rarely.
func TestRefusedForGood(t *testing.T) {
	onBench(t, func(b *bench) {
		b.post = func(int, func() musixmatch.Answer) musixmatch.Answer {
			return musixmatch.Answer{Err: &musixmatch.CallError{Sent: true, Status: 400, Code: "invalid_scope"}}
		}
		time.Sleep(life)
		for range 1000 {
			_, err := b.m.Token(b.ctx, user)
			require.Equal(t, Upstream, outcomeOf(err))
			time.Sleep(time.Second)
		}
		require.Greater(t, len(b.list(&b.posts)), 10)
		require.Less(t, len(b.list(&b.posts)), 16, "ever more rarely")
		require.Nil(t, b.stored().Intent, "the token was not considered")
	})
}

func TestWrongSecretEndsNothing(t *testing.T) {
	onBench(t, func(b *bench) {
		time.Sleep(life)
		b.post = func(n int, rotate func() musixmatch.Answer) musixmatch.Answer {
			if n == 1 {
				return musixmatch.Answer{Err: &musixmatch.CallError{Sent: true, Status: 401, Code: "invalid_client"}}
			}
			return rotate()
		}
		require.Equal(t, "a2", b.token())
		require.Equal(t, []string{"live 1", "live", "live 1", "live"}, b.list(&b.writes))
	})
}

// Close waits for tokens that exist nowhere else, as long as it may.
func TestCloseWaitsForNewTokens(t *testing.T) {
	onBench(t, func(b *bench) {
		time.Sleep(life)
		b.during(func() { time.Sleep(20 * time.Second) })
		go func() { _, _ = b.m.Token(b.ctx, user) }()
		time.Sleep(time.Second)
		short, cancel := context.WithTimeout(b.ctx, time.Second)
		defer cancel()
		require.ErrorIs(t, b.m.Close(short), context.DeadlineExceeded)
		require.Equal(t, "r1", b.stored().Refresh)
		require.NoError(t, b.m.Close(b.ctx))
		require.Equal(t, "r2", b.stored().Refresh)
		time.Sleep(life)
		_, err := b.m.Token(b.ctx, user)
		require.Equal(t, Unavailable, outcomeOf(err))
		require.Len(t, b.list(&b.posts), 1)
	})
}

// unreadable seals the record with a key that this process does not have.
func (b *bench) unreadable() {
	keys, err := seal.New([][]byte{testKey(9)})
	require.NoError(b.t, err)
	key := b.m.records.key(user)
	b.store.records[key] = Record{Data: keys.Seal(grantPurpose, key, []byte("{}")), Version: "unreadable"}
}

// New tokens for a record that somebody with a newer key has written are kept for
// ten leases, should the key come; but Close does not wait for it.
func TestNewTokensForARecordThatDoesNotOpen(t *testing.T) {
	for _, closing := range []bool{false, true} {
		onBench(t, func(b *bench) {
			time.Sleep(life)
			b.during(b.unreadable)
			go func() { _, _ = b.m.Token(b.ctx, user) }()
			time.Sleep(unopened*lease - time.Second)
			synctest.Wait()
			require.Empty(t, b.list(&b.events))
			if closing {
				began := time.Now()
				require.NoError(t, b.m.Close(b.ctx))
				require.Less(t, time.Since(began), 20*time.Second)
			} else {
				time.Sleep(20 * time.Second)
			}
			synctest.Wait()
			require.Equal(t, "failed dropped", b.list(&b.events)[0])
		})
	}
}

// A mark is written however long the store takes, but Close does not wait for it:
// the next process finds out the same.
func TestCloseDoesNotWaitForAMark(t *testing.T) {
	onBench(t, func(b *bench) {
		time.Sleep(life)
		b.pair = 9
		b.during(func() {
			b.store.setFault(func(func() error) error { return errors.New("down") })
		})
		_, err := b.m.Token(context.Background(), user)
		require.Equal(t, Unavailable, outcomeOf(err))
		began := time.Now()
		require.NoError(t, b.m.Close(b.ctx))
		require.Less(t, time.Since(began), 2*time.Second)
		require.Equal(t, statusLive, b.stored().Status)
	})
}

// A mark that lands when nobody waits for it any more is reported all the same, by
// the process that wrote it.
func TestMarkThatLandsLate(t *testing.T) {
	onBench(t, func(b *bench) {
		time.Sleep(life)
		b.pair = 9
		var late []func() error
		b.during(func() {
			b.store.setFault(func(write func() error) error {
				late = append(late, write)
				return errors.New("down")
			})
		})
		_, err := b.m.Token(context.Background(), user)
		require.Equal(t, Unavailable, outcomeOf(err))
		time.Sleep(4 * lease)
		synctest.Wait()
		require.Greater(t, len(late), 1)
		b.store.setFault(nil)
		require.NoError(t, late[0]())
		require.Error(t, late[1]())
		b.requireLost(ReasonRevoked)
		b.requireLost(ReasonRevoked)
	})
}

// A doubt is not left alone because its callers are.
func TestDoubtGoesOnWithoutCallers(t *testing.T) {
	onBench(t, func(b *bench) {
		b.due()
		b.post = func(n int, rotate func() musixmatch.Answer) musixmatch.Answer {
			if n == 1 {
				return musixmatch.Answer{Err: &musixmatch.CallError{Sent: true, Status: 503, RetryAfter: time.Minute}}
			}
			return rotate()
		}
		ctx, cancel := context.WithTimeout(b.ctx, time.Second)
		defer cancel()
		_, err := b.m.Token(ctx, user)
		require.Equal(t, Unavailable, outcomeOf(err))
		time.Sleep(2 * time.Minute)
		require.Equal(t, []string{"r1", "r1"}, b.list(&b.posts))
		require.Equal(t, "r2", b.stored().Refresh)
	})
}

// A record that does not open is there, and has a version, so that a login can
// replace it; a disconnect cannot.
func TestRecordThatDoesNotOpen(t *testing.T) {
	onBench(t, func(b *bench) {
		b.unreadable()
		_, version, found, err := b.m.records.find(b.ctx, user)
		require.ErrorIs(t, err, seal.ErrUnsealable)
		require.True(t, found)
		require.Equal(t, "unreadable", version)
		_, err = b.m.End(b.ctx, user)
		require.Equal(t, Unavailable, outcomeOf(err))
		require.NoError(t, b.m.Put(b.ctx, user, b.tokens()))
		require.Equal(t, "r1", b.stored().Refresh)
	})
}
