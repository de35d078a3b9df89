package linearizable

import (
	"testing"
	"time"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/sessionstore/storetest/engines"
	"github.com/stretchr/testify/require"
)

// cutOften cuts all connections of a proxy, thirty times.
func cutOften(p *engines.Proxy) func(*run) {
	return func(*run) {
		for range 30 {
			time.Sleep(100 * time.Millisecond)
			p.CutAll()
		}
	}
}

// killAFewTimes kills a server and starts it again, three times.
func killAFewTimes(server interface {
	Kill()
	Start()
}) func(*run) {
	return func(*run) {
		for range 3 {
			time.Sleep(time.Second)
			server.Kill()
			server.Start()
		}
	}
}

// requireFailoverAsDocumented has a primary die whose standby lags. The model is
// told that the last two seconds before that may be lost, of the keys that were on
// it. Some must be lost, or the run shows nothing.
//
// replace has the standby fall behind, calls lag, and makes it the primary.
func requireFailoverAsDocumented(t *testing.T, stores []core.GrantStore, isOn func(key string) bool, replace func(lag func())) {
	t.Helper()
	told := operation{kind: failover}
	r := record(t, stores, func(r *run) {
		r.failovers = make(map[string]operation)
		for _, key := range r.keys {
			if isOn(key) {
				r.failovers[key] = operation{}
			}
		}
		time.Sleep(time.Second)
		replace(func() {
			time.Sleep(500 * time.Millisecond)
			told.called = time.Since(r.began)
		})
		told.returned = time.Since(r.began)
		for key := range r.failovers {
			r.failovers[key] = told
		}
		time.Sleep(time.Second)
	})
	r.requireLegal()
	concerned := len(r.failovers)
	r.failovers = nil
	histories, _ := r.illegal()
	require.NotEmpty(t, histories, "the failover lost nothing")
	t.Logf("%d histories of the %d concerned cannot be but for %v of failover", len(histories), concerned, told.returned-told.called)
}

func everyKey(string) bool { return true }
