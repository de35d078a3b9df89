//go:build unix

package linearizable

import (
	"context"
	"errors"
	"io"
	"net/rpc"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/sessionstore/sqlitestore"
	"github.com/stretchr/testify/require"
)

// SQLite is in the process of its application, so that one is what is killed:
// this program, started again, serves a store on its standard input and output.
const sqliteFile = "MXM_LINEARIZABLE_SQLITE"

func TestMain(m *testing.M) {
	if path := os.Getenv(sqliteFile); path != "" {
		serveSQLite(path)
		return
	}
	os.Exit(m.Run())
}

func serveSQLite(path string) {
	s, err := sqlitestore.Open(path)
	if err != nil {
		panic(err)
	}
	server := rpc.NewServer()
	if err := server.RegisterName("Store", &served{s}); err != nil {
		panic(err)
	}
	server.ServeConn(struct {
		io.Reader
		io.WriteCloser
	}{os.Stdin, os.Stdout})
}

type served struct{ store core.GrantStore }

type Call struct {
	Key, Old string
	Record   core.Record
}

type Answer struct {
	Record          core.Record
	Found, Conflict bool
}

func (s *served) Find(c Call, a *Answer) (err error) {
	a.Record, a.Found, err = s.store.FindGrant(context.Background(), c.Key)
	return err
}

func (s *served) Commit(c Call, a *Answer) error {
	err := s.store.CommitGrant(context.Background(), c.Key, c.Old, c.Record)
	if a.Conflict = errors.Is(err, core.ErrConflict); a.Conflict {
		return nil
	}
	return err
}

func (s *served) Delete(c Call, _ *Answer) error {
	return s.store.DeleteGrant(context.Background(), c.Key)
}

// process is the store of another process.
type process struct {
	t      *testing.T
	path   string
	cmd    *exec.Cmd
	client atomic.Pointer[rpc.Client]
}

func startProcess(t *testing.T, path string) *process {
	t.Helper()
	p := &process{t: t, path: path}
	t.Cleanup(p.Kill)
	p.Start()
	return p
}

func (p *process) Start() {
	p.t.Helper()
	p.cmd = exec.Command(os.Args[0])
	p.cmd.Env = append(os.Environ(), sqliteFile+"="+p.path)
	p.cmd.Stderr = os.Stderr
	in, err := p.cmd.StdinPipe()
	require.NoError(p.t, err)
	out, err := p.cmd.StdoutPipe()
	require.NoError(p.t, err)
	require.NoError(p.t, p.cmd.Start())
	p.client.Store(rpc.NewClient(struct {
		io.Reader
		io.WriteCloser
	}{out, in}))
}

func (p *process) Kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	_ = p.client.Load().Close()
}

func (p *process) call(ctx context.Context, method string, c Call) (a Answer, err error) {
	done := p.client.Load().Go("Store."+method, c, &a, make(chan *rpc.Call, 1)).Done
	select {
	case result := <-done:
		return a, result.Error
	case <-ctx.Done():
		return Answer{}, ctx.Err()
	}
}

func (p *process) FindGrant(ctx context.Context, key string) (core.Record, bool, error) {
	a, err := p.call(ctx, "Find", Call{Key: key})
	return a.Record, a.Found, err
}

func (p *process) CommitGrant(ctx context.Context, key, old string, r core.Record) error {
	a, err := p.call(ctx, "Commit", Call{key, old, r})
	if err == nil && a.Conflict {
		return core.ErrConflict
	}
	return err
}

func (p *process) DeleteGrant(ctx context.Context, key string) error {
	_, err := p.call(ctx, "Delete", Call{Key: key})
	return err
}

func TestSQLite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	a, b := startProcess(t, path), startProcess(t, path)
	t.Run("processes killed", func(t *testing.T) {
		record(t, []core.GrantStore{a, b}, func(*run) {
			for range 10 {
				time.Sleep(200 * time.Millisecond)
				a.Kill()
				a.Start()
				time.Sleep(200 * time.Millisecond)
				b.Kill()
				b.Start()
			}
		}, withDeletes).requireLegal()
	})
	requireMutantsConvicted(t, a, b)
}
