package storetest_test

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/sessionstore/storetest"
	"github.com/stretchr/testify/require"
)

// growing is a store of which one can tell how many sessions it was given, and
// which finds one less.
type growing struct {
	*core.Memory
	given int64
	lost  string
}

func (s *growing) FindCtx(ctx context.Context, token string) ([]byte, bool, error) {
	if token == s.lost {
		return nil, false, nil
	}
	return s.Memory.FindCtx(ctx, token)
}

// BenchmarkGrowth is run by TestBenchmarkGrowth.
func BenchmarkGrowth(b *testing.B) {
	s := &growing{Memory: core.NewMemory()}
	storetest.BenchmarkGrowth(b, s, storetest.Engine{
		Load: func(ctx context.Context, tokens []string, data []byte, expiry time.Time) error {
			for _, token := range tokens {
				if err := s.CommitCtx(ctx, token, data, expiry); err != nil {
					return err
				}
			}
			if s.given += int64(len(tokens)); s.given == 1 && os.Getenv("MXM_LOSE") != "" {
				s.lost = tokens[0]
			}
			return nil
		},
		Read: func(context.Context, string) error { return nil },
		Size: func(context.Context) (int64, error) { return 1e6 + 300*s.given, nil },
	})
}

func TestBenchmarkGrowth(t *testing.T) {
	run := func(env ...string) (string, error) {
		cmd := exec.Command(os.Args[0], "-test.run=^$", "-test.bench=^BenchmarkGrowth$", "-test.benchtime=3x")
		cmd.Env = append(os.Environ(), env...)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := run("MXM_BENCH_SESSIONS=10000")
	require.NoError(t, err, out)
	require.Regexp(t, `BenchmarkGrowth/1-?\d*\s+3\s+\S+ ns/op\s+\S+ raw-ns/op\s+\S+ x-one\s+\S+ x-raw\n`, out)
	require.Regexp(t, `BenchmarkGrowth/10000-?\d*\s+3\s+\S+ ns/op\s+300\.0 B/session`, out)

	out, err = run("MXM_BENCH_SESSIONS=1", "MXM_LOSE=1")
	require.Error(t, err, out)
	require.Contains(t, out, "is missing")
}
