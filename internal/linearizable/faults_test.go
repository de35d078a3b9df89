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

// requireFailoverAsDocumented has the standby fall behind and become the primary
// less than two seconds later. Of what the model is told to be lost some must be
// lost, or the run shows nothing.
func requireFailoverAsDocumented(t *testing.T, stores []core.GrantStore, failover, fallBehind func()) {
	t.Helper()
	r := record(t, stores, func(r *run) {
		time.Sleep(time.Second)
		fallBehind()
		time.Sleep(500 * time.Millisecond)
		r.failover(failover)
		time.Sleep(time.Second)
	})
	r.requireLegal()
	told := r.failovers
	r.failovers = nil
	histories, _ := r.illegal()
	require.NotEmpty(t, histories, "the failover lost nothing")
	t.Logf("%d histories cannot be but for %v of failover", len(histories), told[0].returned-told[0].called)
}
