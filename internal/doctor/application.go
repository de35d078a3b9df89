package doctor

import (
	"context"
	"net/http"
)

// checkCallback asks the running application for its callback by HEAD, which spends
// nothing: package core answers 405.
func (d *doctor) checkCallback(ctx context.Context) {
	tried := "HEAD " + d.cfg.RedirectURL
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, d.cfg.RedirectURL, nil)
	if err != nil {
		return
	}
	r, err := d.ask(req)
	switch {
	case err != nil:
		came, _ := explain(err)
		d.find("callback", Unknown, tried, came, "Start the application to have its route checked.")
	case r.status == http.StatusMethodNotAllowed:
		d.find("callback", OK, tried, "the application has this route", "")
	case r.status == http.StatusNotFound:
		d.find("callback", Wrong, tried, answered(r.status),
			"The application has no such route. Mount the routes; behind a proxy that strips a prefix, set Config.PathPrefix.")
	case r.status >= 500:
		d.find("callback", Wrong, tried, answered(r.status), "The application, or the proxy in front of it, is not well.")
	default:
		d.find("callback", Warning, tried, r.String(), "Package core would answer 405. Something in front of the application answers for it.")
	}
}

// checkAPI asks the API without a token.
func (d *doctor) checkAPI(ctx context.Context) {
	tried := "GET " + d.apiURL + " without a token"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.apiURL, nil)
	if err != nil {
		return
	}
	if r, err := d.ask(req); err != nil {
		came, do := explain(err)
		d.find("API", Wrong, tried, came, do)
	} else if r.status >= 500 {
		d.find("API", Wrong, tried, answered(r.status), "The API is not well. Try again later.")
	} else {
		d.find("API", OK, tried, answered(r.status), "")
	}
}
