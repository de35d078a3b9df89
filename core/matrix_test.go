package core_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core"
)

// fault is one that a refresh must survive, or lose one grant to.
type fault struct {
	row  string
	test tests
}

type tests map[string]func(t *testing.T, w *world)

func TestFaultMatrix(t *testing.T) {
	for _, fault := range slices.Concat(processFaults, answerFaults, storeFaults, oracleFaults, lifeFaults) {
		require.NotEmpty(t, fault.test, fault.row)
		t.Run(fault.row, func(t *testing.T) {
			for name, test := range fault.test {
				t.Run(name, func(t *testing.T) { inBubble(t, test) })
			}
		})
	}
}

// unharmed requires that n refreshes were sent, and that the one living login
// is what all instances serve, without a word of loss.
func (w *world) unharmed(n int, all ...*instance) {
	w.t.Helper()
	w.agree(all...)
	sent := w.refreshes()
	require.Len(w.t, sent, n, "refreshes")
	for _, r := range sent {
		require.False(w.t, r.Spent, "a spent token was presented")
	}
	for _, i := range all {
		require.Empty(w.t, i.kinds(core.EventReconnect))
	}
}

// lost requires one event of a terminal loss, at most n refreshes, and that a
// new login heals it.
func (w *world) lost(reason string, n int, all ...*instance) {
	w.t.Helper()
	var events []string
	for _, i := range all {
		require.ErrorIs(w.t, i.tokenErr(w.t, time.Second), core.ErrReconnect)
	}
	synctest.Wait()
	for _, i := range all {
		events = append(events, i.kinds(core.EventReconnect)...)
	}
	require.Equal(w.t, []string{"reconnect " + reason}, events)
	require.LessOrEqual(w.t, len(w.refreshes()), n, "refreshes")
	w.signIn(all[0])
	for _, i := range all {
		require.True(w.t, w.srv.IsLive(i.token(w.t)))
	}
}

// settled requires that the instances agree, once they have asked: all serve
// the living token, or all want a new login and exactly one said so.
func (w *world) settled(all ...*instance) {
	w.t.Helper()
	err := all[0].Verify(w.t.Context(), alice)
	for _, i := range all[1:] {
		require.Equal(w.t, err == nil, i.Verify(w.t.Context(), alice) == nil)
	}
	if err == nil {
		w.agree(all...)
		return
	}
	require.ErrorIs(w.t, err, core.ErrReconnect)
	synctest.Wait()
	losses := 0
	for _, i := range all {
		losses += len(i.kinds(core.EventReconnect))
		for _, e := range i.kinds(core.EventRepaired) {
			if e == "repaired mark_lifted" {
				losses-- // that loss was none
			}
		}
	}
	require.Equal(w.t, 1, losses)
	w.signIn(all[0])
	w.agree(all...)
}

// agree requires that all serve the living token, once caches are renewed.
func (w *world) agree(all ...*instance) {
	w.t.Helper()
	time.Sleep(lease)
	for _, i := range all {
		served := i.token(w.t)
		require.Equal(w.t, w.life().AccessToken, served)
	}
}
