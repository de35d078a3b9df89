//go:build unix

package main

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mxmconnect/mxmconnect/sessionstore/storetest/engines"
)

// server is where the instances keep what they share.
type server struct {
	url   string
	proxy *proxy      // nil: nothing stands between
	proc  restartable // nil: not ours to kill
	host  *host       // nil: likewise
}

type restartable interface {
	Kill()
	Start()
}

// startServer starts the store that was asked for. dir is for its data.
func startServer(store, dir string) (*server, error) {
	switch store {
	case "memory":
		return &server{url: "memory:"}, nil
	case "sqlite":
		return &server{url: "sqlite:" + filepath.Join(dir, "soak.db")}, nil
	case "redis", "postgres", "mariadb":
	default:
		return &server{url: store}, nil
	}
	s := &server{host: &host{dir: dir}}
	var raw string
	err := guarded(func() {
		switch store {
		case "redis":
			r := engines.StartRedis(s.host) // appendfsync always
			s.proc, raw = r, r.URL()
		case "postgres":
			p := engines.StartPostgres(s.host) // fsync and synchronous_commit are on
			s.proc, raw = p, p.URL()
		default:
			m := engines.StartMariaDB(s.host) // its logs are flushed at every commit
			s.proc, raw = m, m.URL()
		}
	})
	if err != nil {
		s.close()
		return nil, err
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, err
	}
	if s.proxy, err = startProxy(u.Host); err != nil {
		s.close()
		return nil, err
	}
	u.Host = s.proxy.addr
	s.url = u.String()
	return s, nil
}

// restart starts the server again after a kill.
func (s *server) restart() error { return guarded(s.proc.Start) }

// kill kills it, as the kernel would.
func (s *server) kill() error { return guarded(s.proc.Kill) }

func (s *server) close() {
	if s.proxy != nil {
		s.proxy.close()
	}
	if s.host != nil {
		s.host.close()
	}
}

// host is the testing.TB that package engines asks for. What it reports as fatal
// becomes an error of guarded.
type host struct {
	testing.TB
	dir      string
	cleanups []func()
}

type fatal struct{ error }

func guarded(do func()) (err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case fatal:
			err = p.error
		default:
			panic(p)
		}
	}()
	do()
	return nil
}

func (h *host) Helper()                           {}
func (h *host) Fatal(args ...any)                 { panic(fatal{errors.New(strings.TrimSpace(fmt.Sprintln(args...)))}) }
func (h *host) Fatalf(format string, args ...any) { panic(fatal{fmt.Errorf(format, args...)}) }
func (h *host) Skipf(format string, args ...any)  { panic(fatal{fmt.Errorf(format, args...)}) }
func (h *host) Cleanup(f func())                  { h.cleanups = append(h.cleanups, f) }

func (h *host) TempDir() string {
	dir, err := os.MkdirTemp(h.dir, "server-")
	if err != nil {
		panic(fatal{err})
	}
	return dir
}

func (h *host) close() {
	for i := len(h.cleanups) - 1; i >= 0; i-- {
		_ = guarded(h.cleanups[i])
	}
}
