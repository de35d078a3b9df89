//go:build unix

package engines

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql" // the driver of Admin
)

// MariaDB is a MariaDB server of its own, with a binary log that is flushed at
// every commit. For root it runs as the user mysql or nobody.
type MariaDB struct {
	Process
	Dir string // its data

	root *sql.DB
}

const mariadbPackage = "mariadb-server"

// The user app has no right beyond the database app. The first line makes the
// server, which runs without its grant tables here, read them.
const mariadbUsers = `FLUSH PRIVILEGES;
CREATE DATABASE app;
CREATE USER app@'127.0.0.1' IDENTIFIED BY 'app-password';
GRANT ALL PRIVILEGES ON app.* TO app@'127.0.0.1';
`

var serverID atomic.Int32

// StartMariaDB initialises and starts a server; settings are more of its command
// line, such as "--max-connections=20".
func StartMariaDB(t testing.TB, settings ...string) *MariaDB {
	t.Helper()
	path := need(t, "mariadbd", mariadbPackage)
	install := need(t, "mariadb-install-db", mariadbPackage)
	attr, own := unprivileged(t, "mysql")
	// Not t.TempDir, whose parent only its owner may enter.
	root, err := os.MkdirTemp("", "mxm-mariadb-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	users := filepath.Join(root, "users.sql")
	if err := os.WriteFile(users, []byte(mariadbUsers), 0o644); err != nil {
		t.Fatal(err)
	}
	own(root)
	dir := filepath.Join(root, "data")
	small := "--innodb-log-file-size=16M"
	temporary := "--tmpdir=" + root // in one that servers share, each deletes what the others have open
	cmd := exec.Command(install, "--no-defaults", "--datadir="+dir, "--auth-root-authentication-method=normal",
		"--skip-test-db", "--skip-name-resolve", "--extra-file="+users, small, temporary)
	cmd.SysProcAttr, cmd.Dir = attr, root
	cmd.Env = append(os.Environ(), "TMPDIR="+root) // two that share one remove each other's tables
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("mariadb-install-db: %v\n%s", err, out)
	}
	addr, port := freeAddr(t)
	db, err := sql.Open("mysql", "root@tcp("+addr+")/app")
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxIdleConns(-1) // none is left behind when the server is killed
	t.Cleanup(func() { db.Close() })
	m := &MariaDB{Dir: dir, root: db}
	m.Process = Process{
		Addr: addr, t: t, path: path, attr: attr, stop: syscall.SIGTERM,
		args: append([]string{"--no-defaults", "--datadir=" + dir, "--tmpdir=" + root, "--bind-address=127.0.0.1", "--port=" + port,
			"--socket=" + filepath.Join(root, "socket"), "--pid-file=" + filepath.Join(root, "pid"), "--skip-name-resolve",
			small, temporary, "--innodb-buffer-pool-size=32M", "--log-bin=log", "--sync-binlog=1",
			fmt.Sprint("--server-id=", serverID.Add(1))}, settings...),
		ready: func() error { return m.admin("DO 1") },
	}
	t.Cleanup(m.Kill)
	m.Start()
	return m
}

// StartReplica starts a server that is read-only and follows primary, which is
// the address of a server of StartMariaDB or of a proxy before one. Replication
// is asynchronous unless both are set otherwise.
func StartReplica(t testing.TB, primary string, settings ...string) *MariaDB {
	t.Helper()
	host, port, err := net.SplitHostPort(primary)
	if err != nil {
		t.Fatal(err)
	}
	m := StartMariaDB(t, append(settings, "--read-only")...)
	m.Admin(fmt.Sprintf("CHANGE MASTER TO master_host='%s', master_port=%s, master_user='root', master_connect_retry=1, master_use_gtid=slave_pos", host, port))
	m.Admin("START SLAVE")
	return m
}

// Promote makes a replica the primary, when it has carried out what it received.
func (m *MariaDB) Promote() {
	m.t.Helper()
	m.Admin("STOP SLAVE IO_THREAD")
	m.await("the replica has carried out everything", func() (done bool) {
		err := m.root.QueryRow(`SELECT EXISTS (SELECT * FROM information_schema.processlist
			WHERE command = 'Slave_SQL' AND state LIKE 'Slave has read all relay log%')`).Scan(&done)
		return err == nil && done
	})
	m.Admin("STOP SLAVE")
	m.Admin("RESET SLAVE ALL")
	m.Admin("SET GLOBAL read_only = OFF")
}

// Admin runs a statement as root, in the database app.
func (m *MariaDB) Admin(statement string) {
	m.t.Helper()
	if err := m.admin(statement); err != nil {
		m.t.Fatalf("%s: %v", statement, err)
	}
}

func (m *MariaDB) admin(statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err := m.root.ExecContext(ctx, statement)
	return err
}

// URL is its address, with the user app and the database app.
func (m *MariaDB) URL() string {
	return fmt.Sprintf("mysql://app:app-password@%s/app", m.Addr)
}

// DSN is its address as the driver takes it.
func (m *MariaDB) DSN() string {
	return fmt.Sprintf("app:app-password@tcp(%s)/app", m.Addr)
}

// Dump returns everything in the database app as SQL.
func (m *MariaDB) Dump() string {
	m.t.Helper()
	host, port, _ := net.SplitHostPort(m.Addr)
	cmd := exec.Command(need(m.t, "mariadb-dump", "mariadb-client"), "--no-defaults", "--host="+host, "--port="+port, "--user=root", "--hex-blob", "app")
	var problems strings.Builder
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		m.t.Fatalf("mariadb-dump: %v\n%s", err, &problems)
	}
	return string(out)
}
