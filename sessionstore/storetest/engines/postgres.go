//go:build unix

package engines

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// Postgres is a PostgreSQL cluster of its own. It refuses to run as root, so for
// root it runs as the user postgres or nobody.
type Postgres struct {
	Process
	Dir string // its data
	bin string
}

// StartPostgres initialises and starts a cluster; settings are lines of its
// configuration, such as "max_connections=20".
func StartPostgres(t testing.TB, settings ...string) *Postgres {
	t.Helper()
	return startPostgres(t, settings, "initdb", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-instructions")
}

// StartStandby starts a hot standby that streams from primary, which is the
// address of a primary or of a proxy before one. Replication is asynchronous
// unless the primary is set otherwise.
func StartStandby(t testing.TB, primary string, settings ...string) *Postgres {
	t.Helper()
	host, port, err := net.SplitHostPort(primary)
	if err != nil {
		t.Fatal(err)
	}
	return startPostgres(t, settings, "pg_basebackup", "--host="+host, "--port="+port, "--username=postgres", "--write-recovery-conf", "--checkpoint=fast")
}

// startPostgres starts a cluster that another program makes.
func startPostgres(t testing.TB, settings []string, maker string, makerArgs ...string) *Postgres {
	t.Helper()
	initdb, err := filepath.EvalSymlinks(need(t, "initdb", "postgresql"))
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Dir(initdb) // of what is in PATH, Debian wraps some
	attr, own := unprivileged(t, "postgres")
	// Not t.TempDir, whose parent only its owner may enter.
	dir, err := os.MkdirTemp("", "mxm-postgres-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	own(dir)

	cmd := exec.Command(filepath.Join(bin, maker), append(makerArgs, "--pgdata="+dir, "--no-sync")...)
	cmd.SysProcAttr, cmd.Dir = attr, os.TempDir()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", maker, err, out)
	}
	addr, port := freeAddr(t)
	args := []string{"-D", dir, "-p", port, "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=" + dir, "-c", "shared_buffers=32MB"}
	for _, s := range settings {
		args = append(args, "-c", s)
	}
	p := &Postgres{Dir: dir, bin: bin, Process: Process{
		Addr: addr, t: t, path: filepath.Join(bin, "postgres"), args: args, attr: attr,
		ready: func() error {
			return exec.Command(filepath.Join(bin, "pg_isready"), "-q", "-h", "127.0.0.1", "-p", port, "-U", "postgres").Run()
		},
	}}
	t.Cleanup(p.Stop) // in good order: a killed one leaves children behind for a moment
	p.Start()
	return p
}

// Promote makes a standby the primary, and returns when it takes writes.
func (p *Postgres) Promote() {
	p.t.Helper()
	cmd := exec.Command(filepath.Join(p.bin, "pg_ctl"), "promote", "--wait", "--pgdata="+p.Dir)
	cmd.SysProcAttr, cmd.Dir = p.attr, os.TempDir()
	if out, err := cmd.CombinedOutput(); err != nil {
		p.t.Fatalf("pg_ctl promote: %v\n%s", err, out)
	}
}

// URL is its address as clients take it, with user and database postgres.
func (p *Postgres) URL() string {
	return fmt.Sprintf("postgres://postgres@%s/postgres?sslmode=disable", p.Addr)
}

// Dump returns everything in the database as SQL.
func (p *Postgres) Dump() string {
	p.t.Helper()
	out, err := exec.Command(filepath.Join(p.bin, "pg_dump"), "--inserts", p.URL()).CombinedOutput()
	if err != nil {
		p.t.Fatalf("pg_dump: %v\n%s", err, out)
	}
	return string(out)
}

// PgBouncer is a pgbouncer in transaction mode.
type PgBouncer struct{ Process }

// StartPgBouncer starts a pgbouncer in front of p, with two server connections
// for all clients, so that these certainly share them.
func StartPgBouncer(t testing.TB, p *Postgres) *PgBouncer {
	t.Helper()
	path := need(t, "pgbouncer", "pgbouncer")
	attr, own := unprivileged(t, "postgres")
	dir, err := os.MkdirTemp("", "mxm-pgbouncer-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	addr, port := freeAddr(t)
	host, pgPort, err := net.SplitHostPort(p.Addr)
	if err != nil {
		t.Fatal(err)
	}
	ini := filepath.Join(dir, "pgbouncer.ini")
	config := fmt.Sprintf(`[databases]
postgres = host=%s port=%s dbname=postgres user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %s
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 2
max_client_conn = 200
`, host, pgPort, port)
	if err := os.WriteFile(ini, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	own(dir)
	b := &PgBouncer{Process{
		Addr: addr, t: t, path: path, args: []string{ini}, attr: attr,
		ready: func() error { return ask(addr, "\x00\x00\x00\x08\x04\xd2\x16\x2f", "N") }, // SSLRequest: no
	}}
	t.Cleanup(b.Kill)
	b.Start()
	return b
}

// URL is its address as clients take it.
func (b *PgBouncer) URL() string {
	return fmt.Sprintf("postgres://postgres@%s/postgres?sslmode=disable", b.Addr)
}

// unprivileged returns how to run a process that refuses to be root, as the user
// name or nobody, and a function that gives it a directory.
func unprivileged(t testing.TB, name string) (*syscall.SysProcAttr, func(dir string)) {
	t.Helper()
	if os.Geteuid() != 0 {
		return processAttr(nil), func(string) {}
	}
	u, err := user.Lookup(name)
	if err != nil {
		if u, err = user.Lookup("nobody"); err != nil {
			t.Fatalf("a server refuses to run as root, and there is no user to run it as: %v", err)
		}
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	return processAttr(&syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}), func(dir string) {
		if err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			return os.Chown(path, uid, gid)
		}); err != nil {
			t.Fatal(err)
		}
	}
}
