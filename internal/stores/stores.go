// Package stores opens the store that a URL names. An application that knows
// which store it has imports that one package only, and compiles one driver.
package stores

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/sessionstore/memstore"
	"github.com/mxmconnect/mxmconnect/sessionstore/mysqlstore"
	"github.com/mxmconnect/mxmconnect/sessionstore/pgxstore"
	"github.com/mxmconnect/mxmconnect/sessionstore/redisstore"
	"github.com/mxmconnect/mxmconnect/sessionstore/sqlitestore"
)

// Store is one value in two roles, as every package under sessionstore has it.
type Store interface {
	scs.CtxStore
	core.GrantStore
}

const (
	// Memory is the URL of the store that needs no keys: it ends with the process.
	Memory = "memory:"

	redisPrefix = "mxmconnect:"
	patience    = 10 * time.Second // with a server that does not answer
	connections = 10               // to MySQL, which accepts 151 unless it is told otherwise
)

var errURL = errors.New("must be memory:, sqlite:PATH, redis://HOST:PORT/DB, redis://HOST:PORT,HOST:PORT of a cluster, postgres://USER:PASSWORD@HOST:PORT/DB or mysql://USER:PASSWORD@HOST:PORT/DB")

// cluster is a URL with several hosts, as net/url does not take it.
var cluster = regexp.MustCompile(`^(rediss?://(?:[^/?]*@)?[^/?,@]+),([^/?@]+)(?:/0?)?(?:\?(.*))?$`)

// oneHost returns the URL of a cluster as go-redis takes it: the hosts after the
// first are parameters. Other URLs stay as they are.
func oneHost(storeURL string) string {
	m := cluster.FindStringSubmatch(storeURL)
	if m == nil {
		return storeURL
	}
	addrs := url.Values{"addr": strings.Split(m[2], ",")}
	return m[1] + "?" + addrs.Encode() + "&" + m[3]
}

// Open opens memory:, sqlite:PATH, redis://…, with several hosts separated by
// commas for a cluster, postgres://… or mysql://…. The error does not hold the
// password that may be in storeURL. Call close in the end.
func Open(ctx context.Context, storeURL string) (store Store, close func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	storeURL = oneHost(storeURL)
	scheme, path, _ := strings.Cut(storeURL, ":")
	switch {
	case storeURL == Memory:
		return memstore.New(), func() {}, nil
	case scheme == "sqlite":
		store, close, err = openSQLite(path)
	case scheme == "redis" || scheme == "rediss":
		store, close, err = openRedis(ctx, storeURL)
	case scheme == "postgres" || scheme == "postgresql":
		store, close, err = openPostgres(ctx, storeURL)
	case scheme == "mysql":
		store, close, err = openMySQL(ctx, storeURL)
	default:
		err = errURL
	}
	if err != nil {
		return nil, nil, problem(err, storeURL)
	}
	return store, close, nil
}

func openSQLite(path string) (Store, func(), error) {
	if path == "" {
		return nil, nil, errURL
	}
	s, err := sqlitestore.Open(path)
	if err != nil {
		return nil, nil, err
	}
	return s, func() { _ = s.Close() }, nil
}

func openRedis(ctx context.Context, storeURL string) (Store, func(), error) {
	client, err := newRedisClient(storeURL)
	if err != nil {
		return nil, nil, errURL // its own error would quote the URL
	}
	redis.SetLogger(quiet{})
	s, err := redisstore.New(ctx, client, redisPrefix)
	if err != nil {
		_ = client.Close()
		return nil, nil, err
	}
	return s, func() { _ = client.Close() }, nil
}

// newRedisClient returns a client whose commands end with their context: without
// ContextTimeoutEnabled, a Redis that hangs is waited for beyond any deadline.
func newRedisClient(storeURL string) (redis.UniversalClient, error) {
	if u, err := url.Parse(storeURL); err == nil && u.Query().Has("addr") {
		options, err := redis.ParseClusterURL(storeURL)
		if err != nil {
			return nil, err
		}
		options.ContextTimeoutEnabled = true
		return redis.NewClusterClient(options), nil
	}
	options, err := redis.ParseURL(storeURL)
	if err != nil {
		return nil, err
	}
	options.ContextTimeoutEnabled = true
	return redis.NewClient(options), nil
}

// quiet keeps a driver's own lines out of a log of structured ones. What they
// report comes back as an error, too.
type quiet struct{}

func (quiet) Printf(ctx context.Context, format string, v ...any) {
	slog.DebugContext(ctx, fmt.Sprintf(format, v...))
}

func (quiet) Print(v ...any) { slog.Debug(fmt.Sprint(v...)) }

func openPostgres(ctx context.Context, storeURL string) (Store, func(), error) {
	config, err := pgxpool.ParseConfig(storeURL)
	if err != nil {
		return nil, nil, errURL
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, nil, err
	}
	s, err := pgxstore.New(ctx, pool)
	if err != nil {
		pool.Close()
		return nil, nil, err
	}
	return s, func() { _ = s.Close(); pool.Close() }, nil
}

// openMySQL takes what the driver knows as parameters of its data source names
// from the URL's query.
func openMySQL(ctx context.Context, storeURL string) (Store, func(), error) {
	u, err := url.Parse(storeURL)
	if err != nil || u.Host == "" {
		return nil, nil, errURL
	}
	config, err := mysql.ParseDSN("tcp(" + u.Host + ")/?" + u.RawQuery)
	if err != nil {
		return nil, nil, errURL
	}
	_ = mysql.SetLogger(quiet{}) // of the whole process: Config has a logger since 1.8 only
	config.User, config.DBName = u.User.Username(), strings.TrimPrefix(u.Path, "/")
	config.Passwd, _ = u.User.Password()
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, nil, errURL
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	db.SetConnMaxLifetime(3 * time.Minute)
	s, err := mysqlstore.New(ctx, db)
	if err != nil {
		_ = db.Close()
		return nil, nil, err
	}
	return s, func() { _ = s.Close(); _ = db.Close() }, nil
}

// problem says why a store cannot be opened, in one line and without the
// password that may be in its URL.
func problem(err error, storeURL string) error {
	if errors.Is(err, errURL) {
		return err
	}
	text := "cannot be opened: " + strings.Join(strings.Fields(err.Error()), " ")
	if u, err := url.Parse(storeURL); err == nil && u.User != nil {
		if password, _ := u.User.Password(); password != "" && strings.Contains(text, password) {
			text = "cannot be opened"
		}
	}
	return errors.New(text)
}
