package grant

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core/internal/musixmatch"
)

// A store that has lost a write is given it back, with an intent of nobody:
// somebody's may have been lost with it.
func TestStoreIsGivenBackWhatItLost(t *testing.T) {
	onBench(t, func(b *bench) {
		before := b.store.records[b.m.records.key(user)]
		time.Sleep(life)
		require.Equal(t, "a2", b.token())
		synctest.Wait()
		b.store.records[b.m.records.key(user)] = before
		b.writes, b.events = nil, nil
		require.Equal(t, "a2", b.token(), "within a lease nobody looks")
		require.Empty(t, b.list(&b.writes))
		time.Sleep(lease)
		require.Equal(t, "a2", b.token())
		require.Equal(t, []string{"live 1"}, b.list(&b.writes))
		gr := b.stored()
		require.Equal(t, "nobody", gr.Intent.Owner)
		require.Equal(t, lease, gr.Intent.Lease)
		require.Equal(t, lease, gr.MaxLease)
		require.True(t, gr.ExpiryKnown)
		require.Equal(t, []string{"repaired store_regressed"}, b.list(&b.events))
	})
}

// An intent may be lost with the write, so the refresh token is left alone for the
// longest lease that there was.
func TestStoreThatLostAWriteIsNotTrustedAtOnce(t *testing.T) {
	onBench(t, func(b *bench) {
		time.Sleep(life)
		require.Equal(t, "a2", b.token())
		time.Sleep(life + time.Minute)
		b.put(func(gr *grant) { gr.Generation--; gr.Access, gr.Refresh = "a1", "r1"; gr.MaxLease = 5 * time.Minute })
		began := time.Now()
		var waited time.Duration
		b.post = func(_ int, rotate func() musixmatch.Answer) musixmatch.Answer {
			waited = time.Since(began)
			return rotate()
		}
		require.Equal(t, "a3", b.token())
		require.Equal(t, 4*5*time.Minute, waited.Round(time.Second))
		require.Equal(t, []string{"r1", "r2"}, b.list(&b.posts))
	})
}

// At an equal generation the store is right, and nothing is written.
func TestStoreIsRightAtAnEqualGeneration(t *testing.T) {
	onBench(t, func(b *bench) {
		b.put(func(gr *grant) { gr.Access = "b1" })
		time.Sleep(lease)
		require.Equal(t, "b1", b.token())
		require.Empty(t, b.list(&b.writes))
	})
}

// A grant that the store has lost altogether ends, once for all instances. One
// that was seen longer ago than a tombstone lives may have been disconnected.
func TestGrantThatIsGone(t *testing.T) {
	onBench(t, func(b *bench) {
		delete(b.store.records, b.m.records.key(user))
		time.Sleep(lease)
		b.requireLost(ReasonStoreLostWrite)
		gr := b.stored()
		require.Empty(t, gr.Access+gr.Refresh)
	})
	onBench(t, func(b *bench) {
		delete(b.store.records, b.m.records.key(user))
		time.Sleep(tombstoneLife)
		_, err := b.m.Token(context.Background(), user)
		require.Equal(t, Reconnect, outcomeOf(err))
		require.Empty(t, b.list(&b.writes))
	})
}

// What a login or a disconnect here has replaced is not shown by a flight that
// read it before.
func TestShow(t *testing.T) {
	old, s := new(served), new(served)
	for _, c := range []struct {
		memory *grant
		shown  bool
	}{
		{nil, true},
		{&grant{Generation: 6, Status: statusLive}, true},
		{&grant{Generation: 6, Status: statusDisconnected}, true},
		{&grant{Generation: 7, Status: statusLive}, true},
		{&grant{Generation: 7, Status: statusDisconnected}, false},
		{&grant{Generation: 8, Status: statusLive}, false},
	} {
		e := &entry{memory: c.memory}
		e.cached.Store(old)
		e.show(s, 7)
		require.Equal(t, c.shown, e.cached.Load() == s, c.memory)
	}
}

func TestMemory(t *testing.T) {
	e := &entry{}
	e.remember(grant{Generation: 2, Access: "a", MaxLease: time.Minute, Intent: &intent{ID: "x"}}, 10)
	e.remember(grant{Generation: 1, Access: "old"}, 20)
	memory, confirmed := e.recall()
	require.Equal(t, &grant{Generation: 2, Access: "a", MaxLease: time.Minute}, memory)
	require.EqualValues(t, 10, confirmed)
	e.remember(grant{Generation: 2, Access: "b"}, 30)
	memory, confirmed = e.recall()
	require.Equal(t, &grant{Generation: 2, Access: "b", MaxLease: time.Minute}, memory, "at an equal generation the store is right")
	require.EqualValues(t, 30, confirmed)
	require.EqualValues(t, 10, e.firstSeen())
	e.remember(grant{Generation: 3, MaxLease: time.Hour}, 40)
	require.EqualValues(t, 40, e.firstSeen())
	memory, _ = e.recall()
	require.Equal(t, time.Hour, memory.MaxLease)
}

// A write whose answer is lost is read back.
func TestWriteIsReadBack(t *testing.T) {
	down := errors.New("down")
	for name, c := range map[string]struct {
		fault func(b *bench) func(write func() error) error
		want  writeResult
	}{
		"done":            {func(*bench) func(func() error) error { return func(w func() error) error { return w() } }, writeDone},
		"failed":          {func(*bench) func(func() error) error { return func(func() error) error { return down } }, writeFailed},
		"conflict":        {func(*bench) func(func() error) error { return func(func() error) error { return ErrConflict } }, writeConflict},
		"the answer lost": {func(*bench) func(func() error) error { return func(w func() error) error { _ = w(); return down } }, writeDone},
		"and sealed again": {func(b *bench) func(func() error) error {
			return func(w func() error) error { _ = w(); b.put(func(*grant) {}); return down }
		}, writeDone},
		"and replaced": {func(b *bench) func(func() error) error {
			return func(w func() error) error { _ = w(); b.put(func(gr *grant) { gr.Access = "x" }); return down }
		}, writeConflict},
		"never done and replaced": {func(b *bench) func(func() error) error {
			return func(func() error) error { b.put(func(gr *grant) { gr.Access = "x" }); return down }
		}, writeConflict},
	} {
		t.Run(name, func(t *testing.T) {
			onBench(t, func(b *bench) {
				gr, old, _, err := b.m.records.find(b.ctx, user)
				require.NoError(t, err)
				gr.Generation++
				b.store.setFault(c.fault(b))
				version, out, err := b.m.records.replace(b.ctx, old, gr)
				require.Equal(t, c.want, out)
				require.Equal(t, out == writeDone, err == nil)
				_, stored, _, findErr := b.m.records.find(b.ctx, user)
				require.NoError(t, findErr)
				if out == writeDone {
					require.Equal(t, stored, version)
				}
			})
		})
	}
}

func TestSameWrite(t *testing.T) {
	base := grant{Status: statusLive, GrantID: "g", Generation: 1, Access: "a", Refresh: "r", Intent: &intent{ID: "i"}}
	for _, change := range []func(gr *grant){
		func(gr *grant) { gr.Status = statusDisconnected }, func(gr *grant) { gr.GrantID = "h" }, func(gr *grant) { gr.Generation = 2 },
		func(gr *grant) { gr.Access = "b" }, func(gr *grant) { gr.Refresh = "s" }, func(gr *grant) { gr.Intent = nil }, func(gr *grant) { gr.Intent = &intent{ID: "j"} },
	} {
		other := base
		change(&other)
		require.False(t, base.same(other))
		require.True(t, other.same(other))
	}
	mark := base
	mark.Status = statusReconnect
	require.False(t, mark.same(mark), "two may write the same mark")
}

// A login and a disconnect lift the generation above all that the store may have
// lost: by what this process remembers, and by the server's time.
func TestGenerationIsLifted(t *testing.T) {
	onBench(t, func(b *bench) {
		require.Equal(t, time.Now().UnixMilli(), b.stored().Generation)
		b.put(func(gr *grant) { gr.Generation += 1e9; gr.MaxLease = time.Hour })
		time.Sleep(lease)
		b.token()
		high := b.stored().Generation
		delete(b.store.records, b.m.records.key(user))
		require.NoError(t, b.m.Put(b.ctx, user, b.tokens()))
		require.Equal(t, high+1, b.stored().Generation)
		require.Equal(t, time.Hour, b.stored().MaxLease)
		delete(b.store.records, b.m.records.key(user))
		ended, err := b.m.End(b.ctx, user)
		require.NoError(t, err)
		require.True(t, ended)
		require.Equal(t, high+2, b.stored().Generation)
		require.Equal(t, time.Hour, b.stored().MaxLease)
		require.Equal(t, statusDisconnected, b.stored().Status)
		require.Equal(t, []string{"r1"}, b.list(&b.revoked))
	})
	onBench(t, func(b *bench) {
		time.Sleep(30 * time.Minute)
		_, err := b.m.End(b.ctx, user)
		require.NoError(t, err)
		require.Equal(t, time.Now().Add(dateResolution).UnixMilli()+1, b.stored().Generation, "the server was asked for its time")
		require.Equal(t, []string{"a1"}, b.list(&b.asked))
		time.Sleep(time.Minute)
		other := b.instance()
		_, err = other.End(b.ctx, "mxm:2")
		require.NoError(t, err)
		gr, _, _, err := other.records.find(b.ctx, "mxm:2")
		require.NoError(t, err)
		require.Equal(t, time.Now().Add(time.Hour).UnixMilli()+1, gr.Generation, "nobody could be asked")
	})
	onBench(t, func(b *bench) {
		date := time.Now().Add(365 * 24 * time.Hour)
		login := b.tokens()
		login.Date = date
		require.NoError(t, b.m.Put(b.ctx, user, login))
		require.Equal(t, date.UnixMilli(), b.stored().Generation)
	})
}

// After a disconnect nothing of the user is served here, and a disconnect that
// follows revokes what one whose answer was lost has left.
func TestDisconnectIsRepeated(t *testing.T) {
	onBench(t, func(b *bench) {
		b.store.setFault(func(write func() error) error { return errors.New("down") })
		_, err := b.m.End(b.ctx, user)
		require.Equal(t, Unavailable, outcomeOf(err))
		require.Empty(t, b.list(&b.revoked))
		b.store.setFault(nil)
		b.put(func(gr *grant) { gr.Status, gr.Access, gr.Refresh = statusDisconnected, "", "" }) // it did take place
		ended, err := b.m.End(b.ctx, user)
		require.NoError(t, err)
		require.True(t, ended)
		require.Equal(t, []string{"r1"}, b.list(&b.revoked))
		ended, err = b.m.End(b.ctx, user)
		require.NoError(t, err)
		require.False(t, ended)
		require.Len(t, b.list(&b.revoked), 1)
		require.Nil(t, b.m.Cached(user))
	})
}

// A conflict with a login that was made meanwhile ends a disconnect: the login is
// another grant.
func TestDisconnectLeavesALaterLogin(t *testing.T) {
	onBench(t, func(b *bench) {
		once := true
		b.store.setFault(func(write func() error) error {
			if once {
				once = false
				b.put(func(gr *grant) { gr.GrantID, gr.Access, gr.Generation = "later", "x", gr.Generation+1 })
			}
			return write()
		})
		ended, err := b.m.End(b.ctx, user)
		require.NoError(t, err)
		require.False(t, ended)
		require.Equal(t, "x", b.stored().Access)
	})
}

// A store that always conflicts is not asked in a hot loop.
func TestConflictsSlowDown(t *testing.T) {
	for name, call := range map[string]func(b *bench) error{
		"Put": func(b *bench) error { return b.m.Put(b.ctx, user, b.tokens()) },
		"End": func(b *bench) error { _, err := b.m.End(b.ctx, user); return err },
		"Token": func(b *bench) error {
			_, err := b.m.Token(b.ctx, user)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			onBench(t, func(b *bench) {
				time.Sleep(life)
				n, began := 0, time.Now()
				b.store.setFault(func(write func() error) error {
					if n++; time.Since(began) < time.Minute {
						return ErrConflict
					}
					return write()
				})
				require.NoError(t, call(b))
				require.Less(t, n, 25)
				require.Greater(t, n, 9)
			})
		})
	}
}

func TestVerify(t *testing.T) {
	onBench(t, func(b *bench) {
		require.NoError(t, b.m.Verify(b.ctx, user))
		b.rotate("r1")
		b.pair = 1 // a1 has been inactive, and r1 still works
		b.look = func(access string, alive bool) (bool, error) { return alive && access != "a1", nil }
		require.NoError(t, b.m.Verify(b.ctx, user))
		require.Equal(t, "r2", b.stored().Refresh)
		synctest.Wait()
		b.look = func(string, bool) (bool, error) { return false, errors.New("down") }
		require.Equal(t, Unavailable, outcomeOf(b.m.Verify(b.ctx, user)))
		b.look = nil
		truth := b.fake.introspect
		b.fake.introspect = func(access string) (musixmatch.Introspection, error) {
			in, err := truth(access)
			in.Sub = "mxm:2"
			return in, err
		}
		require.Equal(t, Reconnect, outcomeOf(b.m.Verify(b.ctx, user)))
		require.Equal(t, ReasonSubChanged, b.stored().Reason)
		require.Nil(t, b.m.Cached(user))
	})
	onBench(t, func(b *bench) {
		b.pair = 9
		require.Equal(t, Reconnect, outcomeOf(b.m.Verify(b.ctx, user)))
	})
}

// A server that leaves old access tokens alive is found out by the first refresh.
func TestCalibration(t *testing.T) {
	onBench(t, func(b *bench) {
		b.due()
		require.Equal(t, "a2", b.token())
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, calibrated, b.m.calibration.state.Load())
		require.True(t, slices.Contains(b.list(&b.asked), "a1"))
	})
	onBench(t, func(b *bench) {
		b.due()
		b.look = func(string, bool) (bool, error) { return true, nil }
		require.Equal(t, "a2", b.token())
		time.Sleep(10 * time.Second)
		require.Equal(t, calibrating, b.m.calibration.state.Load(), "one look may be early")
		time.Sleep(time.Minute)
		synctest.Wait()
		require.True(t, b.m.calibration.off())
		require.Equal(t, blind, b.m.probe(b.ctx, b.stored(), b.m.now()))
		require.Contains(t, b.list(&b.events), "uncalibrated ")
	})
}

func TestProbe(t *testing.T) {
	onBench(t, func(b *bench) {
		gr := b.stored()
		look := func(change func(*grant)) verdict {
			other := gr
			change(&other)
			return b.m.probe(b.ctx, other, b.m.now())
		}
		require.Equal(t, active, look(func(*grant) {}))
		require.Equal(t, inactive, look(func(gr *grant) { gr.Access = "a0" }))
		require.Equal(t, blind, look(func(gr *grant) { gr.Access = "" }))
		require.Equal(t, blind, look(func(gr *grant) { gr.ExpiryKnown = false }))
		require.Equal(t, blind, look(func(gr *grant) { gr.NotRotated = true }))
		require.Equal(t, blind, look(func(gr *grant) { gr.Issued = gr.Issued.Add(-life) }), "its end has come by the server's clock")
		require.Equal(t, active, look(func(gr *grant) { gr.Issued = gr.Issued.Add(time.Second - life) }))
		require.Equal(t, blind, look(func(gr *grant) { gr.ExpiresIn = 0 }))
		b.look = func(string, bool) (bool, error) { return false, errors.New("down") }
		require.Equal(t, noAnswer, look(func(*grant) {}))
		seen := b.m.now()
		time.Sleep(life)
		gr.Issued = time.Now()
		asked := len(b.list(&b.asked))
		require.Equal(t, blind, b.m.probe(b.ctx, gr, seen), "its life has passed here")
		require.Len(t, b.list(&b.asked), asked)
	})
}
