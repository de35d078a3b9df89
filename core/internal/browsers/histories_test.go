package browsers_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/internal/stores"
	"github.com/mxmconnect/mxmconnect/internal/testall"
	"github.com/mxmconnect/mxmconnect/sessionstore/storetest/engines"
)

// In no history is anybody signed in with a session that should have ended, and
// none ends that should not. The histories of a seed are always the same.
func TestHistories(t *testing.T) {
	histories := uint64(1000)
	if testall.Set() {
		histories = 10_000
	}
	s := core.NewMemory()
	for seed := range histories {
		require.Empty(t, play(s, seed, plain), "seed %d", seed)
	}
}

func TestHistoriesOnEveryStore(t *testing.T) {
	testall.Long(t)
	for name, url := range map[string]func(t *testing.T) string{
		"sqlite":        func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "histories.db") },
		"redis":         func(t *testing.T) string { return engines.StartRedis(t).URL() },
		"redis cluster": func(t *testing.T) string { return engines.StartRedisCluster(t).URL() },
		"postgres":      func(t *testing.T) string { return engines.StartPostgres(t).URL() },
		"mariadb":       func(t *testing.T) string { return engines.StartMariaDB(t).URL() },
	} {
		t.Run(name, func(t *testing.T) {
			s, close, err := stores.Open(t.Context(), url(t))
			require.NoError(t, err)
			defer close()
			for seed := range uint64(200) {
				require.Empty(t, play(s, seed, plain), "seed %d", seed)
			}
		})
	}
}
