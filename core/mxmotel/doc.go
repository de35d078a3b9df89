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
// # Gauges
//
// [OnSweep] shows what core.Auth.Maintain has found:
//
//	onSweep, err := mxmotel.OnSweep(otel.GetMeterProvider())
//	go auth.Maintain(ctx, core.Maintenance{OnSweep: onSweep})
//
//	mxmconnect.grants                 gauge, {grant}   grants, by mxmconnect.grant.status
//	mxmconnect.grants.in_doubt        gauge, {grant}   those whose refresh has no known outcome
//	mxmconnect.grants.oldest_refresh  gauge, s         Unix time of the oldest refresh
//	mxmconnect.records                gauge, {record}  records not sealed with the first key, by
//	                                                   mxmconnect.key.kind (older, unknown) and
//	                                                   mxmconnect.key.id
//	mxmconnect.sweep.started          gauge, s         Unix time when the sweep began
//
// An instance shows its own last sweep, and the next may be another's. The one with
// the highest mxmconnect.sweep.started is right.
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
