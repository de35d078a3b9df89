package setup

import (
	"log/slog"
	"os"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

// Musixmatch returns the configuration of the client in MXM_CLIENT_ID and
// MXM_CLIENT_SECRET. If both are empty the example is offline, and a fake
// Musixmatch replaces the real one. The caller closes it.
func (e *Environment) Musixmatch(redirectURL string) (core.Config, *mxmtest.Server) {
	cfg := core.Config{
		ClientID:       os.Getenv("MXM_CLIENT_ID"),
		ClientSecret:   os.Getenv("MXM_CLIENT_SECRET"),
		RedirectURL:    redirectURL,
		BaseURL:        e.Get("MXM_BASE_URL", "https://connect.musixmatch.com"),
		RefreshTimeout: e.Duration("MXM_REFRESH_TIMEOUT", 0),
	}
	switch {
	case cfg.ClientID == "" && cfg.ClientSecret == "":
		fake := mxmtest.NewServer()
		fake.AddClient(mxmtest.DefaultClientID, mxmtest.DefaultClientSecret, redirectURL)
		cfg.ClientID, cfg.ClientSecret, cfg.BaseURL = mxmtest.DefaultClientID, mxmtest.DefaultClientSecret, fake.URL
		return cfg, fake
	case cfg.ClientID == "":
		e.Reject("MXM_CLIENT_ID", "is empty, but MXM_CLIENT_SECRET is not; set both, or neither to work offline")
	case cfg.ClientSecret == "":
		e.Reject("MXM_CLIENT_SECRET", "is empty, but MXM_CLIENT_ID is not; set both, or neither to work offline")
	}
	return cfg, nil
}

// Announce says in the log that an example is offline. fake may be nil.
func Announce(log *slog.Logger, fake *mxmtest.Server) {
	if fake == nil {
		return
	}
	log.Info("offline mode: a fake Musixmatch runs in this process; set MXM_CLIENT_ID and MXM_CLIENT_SECRET for the real one", "base_url", fake.URL)
	if os.Getenv("MXM_BASE_URL") != "" {
		log.Warn("MXM_BASE_URL is not used in offline mode")
	}
}
