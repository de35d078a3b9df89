package doctor

import (
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/internal/setup"
	"github.com/mxmconnect/mxmconnect/internal/stores"
)

// subject is what is examined. A value with a mistake is left empty.
type subject struct {
	cfg              core.Config
	storeURL, apiURL string
}

// readEnvironment reads the variables of the examples, and finds what core.New
// refuses.
func (d *doctor) readEnvironment() {
	var env setup.Environment
	base := "https://connect.musixmatch.com"
	d.cfg = core.Config{
		ClientID:       os.Getenv("MXM_CLIENT_ID"),
		ClientSecret:   os.Getenv("MXM_CLIENT_SECRET"),
		RedirectURL:    env.RedirectURL("http://" + env.Get("ADDR", "localhost:8080")),
		BaseURL:        strings.TrimRight(env.Get("MXM_BASE_URL", base), "/"),
		RefreshTimeout: env.Duration("MXM_REFRESH_TIMEOUT", 0),
		Keys:           env.Keys("MXM_KEYS"),
	}
	d.storeURL, d.apiURL = env.Get("MXM_STORE", stores.Memory), os.Getenv("MXM_API_URL")
	if d.apiURL != "" {
		d.cfg.APIOrigins = []string{env.Origin("MXM_API_URL", d.apiURL)}
	}
	wrong := map[string]bool{}
	note := func(err error) {
		if err == nil {
			return
		}
		for line := range strings.Lines(err.Error()) {
			variable, problem, _ := strings.Cut(strings.TrimSpace(line), " ")
			if !wrong[variable] {
				wrong[variable] = true
				d.find("configuration", Wrong, variable, problem, "Set "+variable+" right, and run this again.")
			}
		}
	}
	note(env.Err())
	cfg := d.cfg
	if wrong["MXM_API_URL"] {
		cfg.APIOrigins = nil
	}
	if d.storeURL != stores.Memory && !wrong["MXM_KEYS"] {
		cfg.Grants = core.NewMemory() // stands for the store, so that New wants keys
	}
	_, err := setup.NewAuth(cfg)
	note(err)

	for variable, value := range map[string]*string{
		"MXM_CLIENT_ID": &d.cfg.ClientID, "MXM_CLIENT_SECRET": &d.cfg.ClientSecret, "MXM_BASE_URL": &d.cfg.BaseURL,
		"MXM_REDIRECT_URL": &d.cfg.RedirectURL, "MXM_API_URL": &d.apiURL,
	} {
		if wrong[variable] {
			*value = ""
		}
	}
	if u, err := url.Parse(d.cfg.BaseURL); err == nil && u.Path != "" {
		d.find("configuration", Warning, "MXM_BASE_URL", fmt.Sprintf("has the path %s", u.Path),
			"Musixmatch's has none: /oauth/token and the others are appended to it.")
	}
	if len(wrong) == 0 {
		d.find("configuration", OK, "core.New", "it accepts the environment", "")
	}
}
