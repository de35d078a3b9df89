package doctor

import (
	"context"
	"crypto/rand"
	"log/slog"
	"strings"
	"sync"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/internal/stores"
)

// checkStore opens the store, which refuses or warns of settings that lose tokens,
// and tries it.
func (d *doctor) checkStore(ctx context.Context) {
	scheme, _, _ := strings.Cut(d.storeURL, ":")
	tried := "open MXM_STORE (" + scheme + ":), write and read"
	if d.storeURL == stores.Memory {
		d.find("store", OK, "MXM_STORE", "memory: sign-ins and tokens end with the process", "For more than a trial, name a store.")
		return
	}
	warnings := collectWarnings()
	defer warnings.stop()
	store, closeStore, err := stores.Open(ctx, d.storeURL)
	if err != nil {
		d.find("store", Wrong, tried, err.Error(), "Check MXM_STORE, and that this machine may reach the store.")
		return
	}
	defer closeStore()
	ctx, cancel := context.WithTimeout(ctx, d.patience)
	defer cancel()
	if err := ready(ctx, store); err != nil {
		d.find("store", Wrong, tried, err.Error(), "Give the store's user the rights that docs/stores.md names, and make it a primary.")
		return
	}
	for _, w := range warnings.list() {
		d.find("store", Warning, tried, w, "docs/stores.md says what the engine must be set to.")
	}
	if len(warnings.list()) == 0 {
		d.find("store", OK, tried, "it keeps what it acknowledges", "")
	}
}

// ready writes and reads a session and a grant, as an application does when it starts.
func ready(ctx context.Context, store stores.Store) error {
	key := make([]byte, 32)
	rand.Read(key)
	auth, err := core.New(core.Config{
		ClientID: "mxm-doctor", ClientSecret: rand.Text(), // nobody is asked
		Sessions: core.NewSessions(store), Grants: store, Keys: [][]byte{key},
	})
	if err != nil {
		return err
	}
	defer auth.Close(ctx)
	return auth.Ready(ctx)
}

// warnings is a slog.Handler that keeps the messages of the stores.
type warnings struct {
	before *slog.Logger
	mu     sync.Mutex
	texts  []string
}

// collectWarnings takes slog's default for as long as the store is open.
func collectWarnings() *warnings {
	w := &warnings{before: slog.Default()}
	slog.SetDefault(slog.New(w))
	return w
}

func (w *warnings) stop() { slog.SetDefault(w.before) }

func (w *warnings) list() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.texts
}

// Enabled implements slog.Handler.
func (w *warnings) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }

// Handle implements slog.Handler.
func (w *warnings) Handle(_ context.Context, r slog.Record) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.texts = append(w.texts, r.Message)
	return nil
}

// WithAttrs implements slog.Handler.
func (w *warnings) WithAttrs([]slog.Attr) slog.Handler { return w }

// WithGroup implements slog.Handler.
func (w *warnings) WithGroup(string) slog.Handler { return w }
