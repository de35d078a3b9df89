package storetest_test

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/sessionstore/storetest"
	"github.com/stretchr/testify/require"
)

func TestOutage(t *testing.T) {
	f := storetest.NewFaulty(core.NewMemory())
	o := storetest.RunOutage(t, f, func() {
		f.Inject(storetest.FailAfter)
		time.Sleep(50 * time.Millisecond)
		f.Inject(storetest.Down)
		time.Sleep(50 * time.Millisecond)
		f.Heal()
	})
	require.GreaterOrEqual(t, o.Acknowledged, int64(400))
	require.Positive(t, o.Failed)
}

// An outage that loses what was acknowledged has to be seen.
func TestOutageSeesLostWrites(t *testing.T) {
	if lost := storetest.Op(os.Getenv("MXM_LOST")); lost != "" {
		f := storetest.NewFaulty(core.NewMemory())
		storetest.RunOutage(t, f, func() {
			f.Inject(storetest.LoseWrite, lost)
			time.Sleep(50 * time.Millisecond)
			f.Heal()
		})
		return
	}
	for op, want := range map[storetest.Op]string{
		storetest.CommitGrant: "acknowledged was",
		storetest.Delete:      "a session came back",
	} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestOutageSeesLostWrites$", "-test.v")
		cmd.Env = append(os.Environ(), "MXM_LOST="+string(op))
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit)
		require.Contains(t, string(out), want)
	}
}
