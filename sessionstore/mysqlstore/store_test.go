package mysqlstore_test

import (
	"database/sql"
	"testing"

	"github.com/alexedwards/scs/v2"
	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/sessionstore/mysqlstore"
	"github.com/mxmconnect/mxmconnect/sessionstore/storetest"
	"github.com/mxmconnect/mxmconnect/sessionstore/storetest/engines"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func connect(t testing.TB, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("mysql", dsn)
	require.NoError(t, err)
	db.SetMaxOpenConns(20)
	db.SetMaxIdleConns(20)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func open(t testing.TB, dsn string) (*mysqlstore.Store, *sql.DB) {
	t.Helper()
	db := connect(t, dsn)
	s, err := mysqlstore.New(t.Context(), db)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s, db
}

// Isolation levels that are not refused, and what a data source name can set that
// changes how the driver speaks to the server or what that answers.
func TestStore(t *testing.T) {
	m := engines.StartMariaDB(t)
	for name, settings := range map[string]string{
		"as installed":            "",
		"read committed":          "?tx_isolation=%27READ-COMMITTED%27",
		"serializable":            "?tx_isolation=%27SERIALIZABLE%27",
		"snapshots of MariaDB 11": "?innodb_snapshot_isolation=ON",
		"everything otherwise":    "?clientFoundRows=true&interpolateParams=true&parseTime=true&loc=Asia%2FTokyo&time_zone=%27%2B05%3A00%27&charset=latin1&sql_mode=%27STRICT_ALL_TABLES,ANSI,PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES,PAD_CHAR_TO_FULL_LENGTH%27",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := open(t, m.DSN()+settings)
			storetest.RunSessions(t, func(t *testing.T) scs.CtxStore { return s })
			storetest.RunGrants(t, func(t *testing.T) core.GrantStore { return s })
			storetest.RunLister(t, func(t *testing.T) storetest.Lister { return s })
		})
	}
}
