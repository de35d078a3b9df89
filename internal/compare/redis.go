package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"time"

	"github.com/alexedwards/scs/goredisstore"
	"github.com/alexedwards/scs/v2"
	ginredis "github.com/gin-contrib/sessions/redis"
	"github.com/redis/go-redis/v9"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/sessionstore/redisstore"
)

// redisServer is a Redis of this run, on a loopback port and without persistence.
type redisServer struct {
	addr string
	cmd  *exec.Cmd
	dir  string
	ask  *redis.Client
}

func (s *redisServer) running() bool { return s.cmd != nil }

func startRedis() (*redisServer, error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return &redisServer{}, nil //nolint:nilerr // its rows are left out then
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
	dir, err := os.MkdirTemp("", "compare-redis")
	if err != nil {
		return nil, err
	}
	s := &redisServer{addr: addr, dir: dir, ask: redis.NewClient(&redis.Options{Addr: addr})}
	s.cmd = exec.Command(path, "--bind", "127.0.0.1", "--port", port, "--dir", dir, "--save", "", "--appendonly", "no")
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		err := s.ask.Ping(context.Background()).Err()
		if err == nil {
			return s, nil
		}
		if time.Since(began) > 10*time.Second {
			s.stop()
			return nil, fmt.Errorf("redis-server does not answer: %w", err)
		}
	}
}

func (s *redisServer) stop() {
	if !s.running() {
		return
	}
	_ = s.ask.Close()
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	_ = os.RemoveAll(s.dir)
}

var commandCalls = regexp.MustCompile(`cmdstat_(\S+?):calls=(\d+)`)

// commands is how many commands the server has run for others.
func (s *redisServer) commands() (n int, err error) {
	info, err := s.ask.Info(context.Background(), "commandstats").Result()
	if err != nil {
		return 0, err
	}
	for _, m := range commandCalls.FindAllStringSubmatch(info, -1) {
		if m[1] != "info" {
			calls, err := strconv.Atoi(m[2])
			if err != nil {
				return 0, err
			}
			n += calls
		}
	}
	return n, nil
}

func (s *redisServer) counted(c contender) contender {
	c.commands = s.commands
	return c
}

func (s *redisServer) client(cached bool) *redis.Client {
	o := &redis.Options{Addr: s.addr}
	if cached {
		o.ClientSideCacheConfig = &redis.ClientSideCacheConfig{}
	}
	return redis.NewClient(o)
}

func (s *redisServer) ours(idle time.Duration, cached bool) contender {
	store := must(redisstore.New(context.Background(), s.client(cached), "mxmconnect:"))
	return s.counted(ours("mxmconnect (redisstore)", func(c *core.Config) {
		c.Sessions, c.Grants = core.NewSessions(store), store
		c.Sessions.IdleTimeout = idle
	}, onNetHTTP).request())
}

func (s *redisServer) scs(idle time.Duration, cached bool) contender {
	m := scs.New()
	m.Store = goredisstore.New(s.client(cached))
	m.IdleTimeout = idle
	return s.counted(usingSCS("scs, goredisstore", m).request())
}

// get is the least that a session in Redis can cost: one GET of its size.
func (s *redisServer) get() contender {
	client, ctx := s.client(false), context.Background()
	must(0, client.Set(ctx, "raw", make([]byte, 100), time.Hour).Err())
	return s.counted(contender{name: "nothing but GET", why: "it is the floor: a round trip without a request around it", prepare: repeated(func() {
		b, err := client.Get(ctx, "raw").Bytes()
		check(err == nil && len(b) == 100, "GET: %v", err)
	})})
}

func requestOnRedis(s *redisServer) group {
	silent := slog.Default()
	defer slog.SetDefault(silent)
	slog.SetDefault(slog.New(slog.DiscardHandler))
	return group{title: "authenticated request, Redis", contenders: []contender{
		s.ours(0, false),
		s.scs(0, false),
		s.counted(usingGinContrib("gin-contrib/sessions, Redis", must(ginredis.NewStore(10, "tcp", s.addr, "", "", cookieKey))).request()),
		s.get(),
	}}
}

func requestOnRedisWithIdleTimeout(s *redisServer) group {
	return group{title: "authenticated request, Redis, with an idle timeout", contenders: []contender{
		s.ours(idleTimeout, false), s.scs(idleTimeout, false),
	}}
}

func requestOnRedisWithCache(s *redisServer) group {
	return group{title: "authenticated request, Redis, client-side caching", contenders: []contender{
		s.ours(0, true), s.scs(0, true), s.get(),
	}}
}
