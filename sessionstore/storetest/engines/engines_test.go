package engines_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/mxmconnect/mxmconnect/sessionstore/storetest/engines"
	"github.com/stretchr/testify/require"
)

func TestRedisSurvivesAKill(t *testing.T) {
	r := engines.StartRedis(t)
	require.Equal(t, "+OK", redis(t, r.Addr, "SET k v"))
	r.Kill()
	_, err := net.Dial("tcp", r.Addr)
	require.Error(t, err, "it is dead")
	r.Start()
	require.Equal(t, "$1", redis(t, r.Addr, "GET k"))

	r.Stop()
	r.Start()
	require.Equal(t, "$1", redis(t, r.Addr, "GET k"))

	r.Pause()
	c, err := net.Dial("tcp", r.Addr)
	require.NoError(t, err, "the kernel still accepts")
	defer c.Close()
	fmt.Fprint(c, "PING\r\n")
	require.NoError(t, c.SetReadDeadline(time.Now().Add(100*time.Millisecond)))
	_, err = c.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	r.Resume()
	require.Equal(t, "+PONG", redis(t, r.Addr, "PING"))
}

func TestPostgresSurvivesAKill(t *testing.T) {
	p := engines.StartPostgres(t)
	require.Equal(t, "CREATE TABLE", psql(t, p.URL(), "CREATE TABLE canary (x text)"))
	require.Equal(t, "INSERT 0 1", psql(t, p.URL(), "INSERT INTO canary VALUES ('sings')"))
	p.Kill()
	p.Start()
	require.Equal(t, "sings", psql(t, p.URL(), "SELECT x FROM canary"))
	require.Contains(t, p.Dump(), "'sings'")

	b := engines.StartPgBouncer(t, p)
	require.Equal(t, "sings", psql(t, b.URL(), "SELECT x FROM canary"))
}

func TestMariaDBSurvivesAKill(t *testing.T) {
	m := engines.StartMariaDB(t)
	m.Admin("CREATE TABLE canary (x text)")
	m.Admin("INSERT INTO canary VALUES ('sings')")
	m.Kill()
	m.Start()
	require.Contains(t, m.Dump(), "'sings'")
	m.Stop()
	_, err := net.Dial("tcp", m.Addr)
	require.Error(t, err, "it has stopped")
	m.Start()
	require.Contains(t, m.Dump(), "'sings'")
}

func TestReplicaFollowsAndIsPromoted(t *testing.T) {
	m := engines.StartMariaDB(t)
	m.Admin("CREATE TABLE canary (x text)")
	replica := engines.StartReplica(t, m.Addr)
	m.Admin("INSERT INTO canary VALUES ('sings')")
	require.Eventually(t, func() bool { return strings.Contains(replica.Dump(), "'sings'") }, 20*time.Second, 50*time.Millisecond)
	replica.Promote()
	replica.Admin("INSERT INTO canary VALUES ('flies')")
	require.Contains(t, replica.Dump(), "'flies'")
	require.NotContains(t, m.Dump(), "'flies'")
}

func TestProxyCuts(t *testing.T) {
	r := engines.StartRedis(t)
	p := engines.StartProxy(t, r.Addr)
	require.Equal(t, "+OK", redis(t, p.Addr, "SET k first"))

	p.CutBefore("SET k second")
	require.Empty(t, redis(t, p.Addr, "SET k second"))
	require.Equal(t, ":5", redis(t, p.Addr, "STRLEN k"), "the request did not arrive")

	p.CutAfter("SET k third__")
	require.Empty(t, redis(t, p.Addr, "SET k third__"))
	require.Equal(t, ":7", redis(t, p.Addr, "STRLEN k"), "only the answer was lost")
	require.Equal(t, 2, p.Cuts())

	p.SetDown(true)
	require.Empty(t, redis(t, p.Addr, "PING"))
	p.SetDown(false)
	require.Equal(t, "+PONG", redis(t, p.Addr, "PING"))

	other := engines.StartRedis(t)
	p.SetTarget(other.Addr)
	require.Equal(t, ":0", redis(t, p.Addr, "STRLEN k"), "another server")
}

func TestMissingServer(t *testing.T) {
	if os.Getenv("MXM_INNER") == "1" {
		engines.StartRedis(t)
		t.Fatal("there is no redis-server in an empty PATH")
	}
	for required, want := range map[string]string{"0": "--- SKIP", "1": "--- FAIL"} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestMissingServer$", "-test.v")
		cmd.Env = append(os.Environ(), "MXM_INNER=1", "PATH="+t.TempDir(), "MXM_TEST_ALL="+required)
		out, _ := cmd.CombinedOutput()
		require.Contains(t, string(out), want)
		require.Contains(t, string(out), "Debian package redis-server")
		require.NotContains(t, string(out), "empty PATH")
	}
}

// redis returns the first line of the answer, or nothing when there is none.
func redis(t *testing.T, addr, command string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.SetDeadline(time.Now().Add(5*time.Second)))
	fmt.Fprint(c, command+"\r\n")
	line, _ := bufio.NewReader(c).ReadString('\n')
	return strings.TrimSpace(line)
}

func psql(t *testing.T, url, query string) string {
	t.Helper()
	out, err := exec.Command("psql", "--no-psqlrc", "-At", "-c", query, url).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return strings.TrimSpace(string(out))
}
