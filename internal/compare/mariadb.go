package main

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"os"
	"os/exec"
	"time"

	scsmysql "github.com/alexedwards/scs/mysqlstore"
	"github.com/alexedwards/scs/v2"
	_ "github.com/go-sql-driver/mysql"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/sessionstore/mysqlstore"
)

// mariadbServer is a MariaDB of this run, on a loopback port.
type mariadbServer struct {
	dsn   string
	cmd   *exec.Cmd
	dir   string
	db    *sql.DB
	store *mysqlstore.Store
	ask   *sql.DB
	asked int
}

func (s *mariadbServer) running() bool { return s.cmd != nil }

func startMariaDB() (_ *mariadbServer, err error) {
	install, err := exec.LookPath("mariadb-install-db")
	if err != nil {
		return &mariadbServer{}, nil //nolint:nilerr // its rows are left out then
	}
	path, err := exec.LookPath("mariadbd")
	if err != nil {
		path = "/usr/sbin/mariadbd"
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	addr := l.Addr().String()
	l.Close()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	s := &mariadbServer{dsn: "root@tcp(" + addr + ")/test?parseTime=true"}
	if s.dir, err = os.MkdirTemp("", "compare-mariadb"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.stop()
		}
	}()
	common := []string{"--no-defaults", "--datadir=" + s.dir}
	if os.Geteuid() == 0 {
		common = append(common, "--user=mysql") // it refuses to be root
	}
	if out, err := exec.Command(install, append(common, "--auth-root-authentication-method=normal")...).CombinedOutput(); err != nil { //nolint:gosec // found in PATH
		return nil, fmt.Errorf("mariadb-install-db: %w\n%s", err, out)
	}
	s.cmd = exec.Command(path, append(common, "--bind-address=127.0.0.1", "--port="+port, "--socket="+s.dir+"/socket", "--skip-name-resolve")...) //nolint:gosec // likewise
	if err = s.cmd.Start(); err != nil {
		s.cmd = nil
		return nil, err
	}
	s.ask = must(sql.Open("mysql", s.dsn))
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if err = s.ask.PingContext(context.Background()); err == nil {
			break
		}
		if time.Since(began) > 20*time.Second {
			return nil, fmt.Errorf("mariadbd does not answer: %w", err)
		}
	}
	s.db = must(sql.Open("mysql", s.dsn))
	// As its documentation shows.
	for _, statement := range []string{
		`CREATE TABLE sessions (token CHAR(43) PRIMARY KEY, data BLOB NOT NULL, expiry TIMESTAMP(6) NOT NULL)`,
		`CREATE INDEX sessions_expiry_idx ON sessions (expiry)`,
	} {
		if _, err = s.db.ExecContext(context.Background(), statement); err != nil {
			return nil, err
		}
	}
	s.store, err = mysqlstore.New(context.Background(), s.db)
	return s, err
}

func (s *mariadbServer) stop() {
	if s.store != nil {
		_ = s.store.Close()
	}
	for _, db := range []*sql.DB{s.db, s.ask} {
		if db != nil {
			_ = db.Close()
		}
	}
	if s.running() {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
	}
	if s.dir != "" {
		_ = os.RemoveAll(s.dir)
	}
}

// commands is how many statements the server has prepared or carried out for
// others: each is a round trip.
func (s *mariadbServer) commands() (n int, err error) {
	s.asked++
	err = s.ask.QueryRowContext(context.Background(), `SELECT SUM(variable_value) FROM information_schema.global_status
		WHERE variable_name IN ('QUESTIONS', 'COM_STMT_PREPARE')`).Scan(&n)
	return n - s.asked, err
}

func (s *mariadbServer) counted(c contender) contender {
	c.commands = s.commands
	return c
}

// read is the least that a session in MariaDB can cost: one SELECT of its size,
// prepared before.
func (s *mariadbServer) read() contender {
	ctx := context.Background()
	must(0, s.store.Commit("raw", make([]byte, 100), time.Now().Add(time.Hour)))
	statement := must(s.db.PrepareContext(ctx, `SELECT data FROM mxm_sessions WHERE token = ?`))
	return s.counted(contender{name: "nothing but SELECT", why: "it is the floor: a round trip without a request around it", prepare: repeated(func() {
		var b []byte
		must(0, statement.QueryRowContext(ctx, []byte("raw")).Scan(&b))
		check(len(b) == 100, "SELECT: %d bytes", len(b))
	})})
}

func requestOnMariaDB(s *mariadbServer) group {
	theirs := scs.New()
	theirs.Store = scsmysql.NewWithCleanupInterval(s.db, 0)
	return group{title: "authenticated request, MariaDB", contenders: []contender{
		s.counted(ours("mxmconnect (mysqlstore)", func(c *core.Config) {
			c.Sessions, c.Grants = core.NewSessions(s.store), s.store
		}, onNetHTTP).request()),
		s.counted(usingSCS("scs, mysqlstore", theirs).request()),
		s.read(),
	}}
}
