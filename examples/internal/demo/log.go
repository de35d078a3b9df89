package demo

import (
	"log/slog"
	"net/http"
	"time"
)

const maxPath = 200 // bytes of a path in the log: a visitor chooses it

// LogRequests is an access log for net/http. It writes the path and never the
// query: the callback's holds a code.
func LogRequests(log *slog.Logger, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start, sw := time.Now(), &statusWriter{ResponseWriter: w, status: http.StatusOK}
		defer func() { LogRequest(log, r.Method, r.URL.Path, sw.status, time.Since(start)) }()
		next.ServeHTTP(sw, r)
	})
}

func LogRequest(log *slog.Logger, method, path string, status int, took time.Duration) {
	log.Info("request", "method", method, "path", path[:min(len(path), maxPath)], "status", status, "took", took)
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap serves http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
