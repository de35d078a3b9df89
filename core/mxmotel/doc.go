// Package mxmotel turns the events of package core into OpenTelemetry metrics
// and spans. Core itself does not know OpenTelemetry.
//
//	onEvent, err := mxmotel.OnEvent(otel.GetMeterProvider(), otel.GetTracerProvider())
//	auth, err := core.New(core.Config{…, OnEvent: onEvent})
//
// # Metrics
//
//	mxmconnect.events          counter, {event}   events that happened
//	mxmconnect.event.duration  histogram, s       how long those took that take time
//
// Both carry the attributes mxmconnect.event.kind and, where there is one,
// mxmconnect.event.reason: the values of [core.Event], which are few. Neither
// carries a user. Worth an alarm: kind=reconnect, each of which is a user who
// has to sign in again, and kind=refresh_failed.
//
// # Spans
//
// Every event is a span named "musixmatch " and its kind, which ends when the
// event happens and is as long as it took; one that takes no time, such as a
// reconnect, has no length. A login is a child of the request that finished it.
// A refresh is done for all who wait for it and outlives any of them, so it
// is a trace of its own. Spans carry the same attributes, and the user as
// user.hash, the keyed hash of core.Event.
//
// No token, code, state, query string or body is part of either. What else
// instruments the application must keep the callback's query out as well:
// otelhttp's handler records the path alone (looked up in v0.72).
//
// # The token endpoint and the API
//
// Calls to the token endpoint are measured through the events, and
// core.Config.HTTPClient is left alone: a transport around it would have to
// answer for never sending a request twice, and would take away what core does
// to a *http.Transport for that. API calls can be traced where they leave the
// application, around the client; otelhttp's transport records their whole URL:
//
//	client := auth.Client(ctx, userID)
//	client.Transport = otelhttp.NewTransport(client.Transport)
package mxmotel
