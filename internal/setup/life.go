package setup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/mxmconnect/mxmconnect/core"
)

// grace is how long requests, and then refreshes, may take to finish.
const grace = 45 * time.Second

// Main runs an example. SIGINT and SIGTERM cancel its ctx. Main exits with status 2
// if an environment variable is wrong, and with 1 after any other error.
func Main(run func(ctx context.Context, log *slog.Logger) error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal does not wait
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	slog.SetDefault(log) // drivers use it
	err := run(ctx, log)
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, strings.ReplaceAll(err.Error(), "\n", "; "))
	var mistake *Mistake
	if errors.As(err, &mistake) {
		os.Exit(2)
	}
	os.Exit(1)
}

// Serve answers requests until ctx is done. Then it accepts no more, finishes
// those under way, and waits until refreshes in flight are stored. A user whose
// new tokens nobody stores has to sign in again.
func Serve(ctx context.Context, l net.Listener, handler http.Handler, auth *core.Auth, log *slog.Logger) error {
	server := http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       time.Minute, // it ends the request's context, too, so it is longer than any handler takes
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelError),
	}
	log.Info("listening", "address", l.Addr().String())
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	log.Info("stopping")
	requests, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	if err := server.Shutdown(requests); err != nil {
		log.Error("requests were cut off", "error", err.Error())
		server.Close()
	}
	refreshes, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	if err := auth.Close(refreshes); err != nil {
		return err
	}
	log.Info("stopped")
	return nil
}
