// Command starter shows a whole program, to copy: sign-in with Musixmatch for any
// number of instances, with Redis. compose.yaml beside it runs two of them with a fake
// Musixmatch. It reads these variables:
//
//	MXM_CLIENT_ID, MXM_CLIENT_SECRET, MXM_REDIRECT_URL   as registered with Musixmatch
//	MXM_STORE   such as redis://localhost:6379/0
//	MXM_KEYS    base64 of 32 random bytes (openssl rand -base64 32), older keys after commas
//	MXM_API_URL, MXM_BASE_URL   the API, and an authorization server other than Musixmatch's
//	ADDR        where to listen, such as :8080
package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/nethttpmw"
	"github.com/mxmconnect/mxmconnect/sessionstore/redisstore"
	"github.com/redis/go-redis/v9"
)

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	options, err := redis.ParseURL(os.Getenv("MXM_STORE"))
	if err != nil {
		return errors.New("MXM_STORE is not a redis:// URL") // which may hold a password
	}
	client := redis.NewClient(options)
	defer client.Close()
	store, err := redisstore.New(ctx, client, "starter:")
	if err != nil {
		return err
	}
	var keys [][]byte
	for text := range strings.SplitSeq(os.Getenv("MXM_KEYS"), ",") {
		key, _ := base64.StdEncoding.DecodeString(strings.TrimSpace(text)) // core.New refuses what is not 32 bytes
		keys = append(keys, key)
	}
	api := os.Getenv("MXM_API_URL")
	auth, err := core.New(core.Config{
		ClientID: os.Getenv("MXM_CLIENT_ID"), ClientSecret: os.Getenv("MXM_CLIENT_SECRET"), RedirectURL: os.Getenv("MXM_REDIRECT_URL"),
		BaseURL: os.Getenv("MXM_BASE_URL"), APIOrigins: []string{api},
		Sessions: core.NewSessions(store), Grants: store, Keys: keys,
	})
	if err != nil {
		return err
	}

	mux := http.NewServeMux()
	nethttpmw.Mount(mux, auth)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		if nethttpmw.UserID(r) == "" {
			fmt.Fprintf(w, `<a href="%s">Sign in with Musixmatch</a>`, auth.LoginURL("/whoami"))
			return
		}
		fmt.Fprintf(w, `<a href="/whoami">Who am I?</a> <form method="post" action="%s"><button>Sign out</button></form>`, auth.LogoutURL())
	})
	mux.Handle("GET /whoami", nethttpmw.RequireUser(auth)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		res, err := auth.Client(r.Context(), nethttpmw.UserID(r)).Get(api + "/whoami")
		if err != nil {
			core.WriteError(w, r, err)
			return
		}
		defer res.Body.Close()
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(res.StatusCode)
		_, _ = io.Copy(w, io.LimitReader(res.Body, 1<<20))
	})))

	server := &http.Server{Addr: os.Getenv("ADDR"), Handler: nethttpmw.Middleware(auth)(mux), ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.ListenAndServe() }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	stopping, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	return errors.Join(server.Shutdown(stopping), auth.Close(stopping)) // requests, then refreshes
}
