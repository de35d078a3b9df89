package linearizable

import (
	"testing"
	"time"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/sessionstore/memstore"
	"github.com/mxmconnect/mxmconnect/sessionstore/storetest"
)

func TestMemory(t *testing.T) {
	s := memstore.New()
	t.Run("answers lost", func(t *testing.T) {
		faulty := storetest.NewFaulty(s)
		record(t, []core.GrantStore{faulty}, func(*run) {
			for range 200 {
				faulty.InjectNext(1, storetest.FailAfter, storetest.CommitGrant)
				faulty.InjectNext(1, storetest.Down, storetest.CommitGrant)
				faulty.InjectNext(1, storetest.FailAfter, storetest.DeleteGrant)
				time.Sleep(time.Millisecond)
			}
		}, withDeletes).requireLegal()
	})
	requireMutantsConvicted(t, s, s)
}
