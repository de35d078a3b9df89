package mxmotel_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/metric/metricdata/metricdatatest"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/goleak"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/mxmotel"
	"github.com/mxmconnect/mxmconnect/core/mxmtest"
	"github.com/mxmconnect/mxmconnect/nethttpmw"
)

const alice = "mxm:100000000000000000001"

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// telemetry is an SDK that keeps what it was given.
type telemetry struct {
	tb      testing.TB
	reader  *sdkmetric.ManualReader
	meters  *sdkmetric.MeterProvider
	tracers *sdktrace.TracerProvider
	spans   *tracetest.SpanRecorder
	onEvent func(context.Context, core.Event)
}

func newTelemetry(tb testing.TB) *telemetry {
	r := &telemetry{tb: tb, reader: sdkmetric.NewManualReader(), spans: tracetest.NewSpanRecorder()}
	r.tracers = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(r.spans))
	r.meters = sdkmetric.NewMeterProvider(sdkmetric.WithReader(r.reader))
	var err error
	r.onEvent, err = mxmotel.OnEvent(r.meters, r.tracers)
	require.NoError(tb, err)
	return r
}

func (r *telemetry) metrics() map[string]metricdata.Metrics {
	var all metricdata.ResourceMetrics
	require.NoError(r.tb, r.reader.Collect(r.tb.Context(), &all))
	require.Len(r.tb, all.ScopeMetrics, 1)
	require.Equal(r.tb, "github.com/mxmconnect/mxmconnect/core/mxmotel", all.ScopeMetrics[0].Scope.Name)
	byName := map[string]metricdata.Metrics{}
	for _, m := range all.ScopeMetrics[0].Metrics {
		byName[m.Name] = m
	}
	return byName
}

func event(kind, reason string) attribute.Set {
	attrs := []attribute.KeyValue{attribute.String("mxmconnect.event.kind", kind)}
	if reason != "" {
		attrs = append(attrs, attribute.String("mxmconnect.event.reason", reason))
	}
	return attribute.NewSet(attrs...)
}

func TestEventsAreCountedByKindAndReason(t *testing.T) {
	r := newTelemetry(t)
	for _, e := range []core.Event{
		{Kind: core.EventRefresh, User: "ab12", Took: time.Second},
		{Kind: core.EventRefresh, User: "cd34", Took: time.Second},
		{Kind: core.EventReconnect, Reason: "revoked", User: "ab12"},
		{Kind: core.EventReconnect, Reason: "lost_response", User: "cd34"},
	} {
		r.onEvent(t.Context(), e)
	}
	metricdatatest.AssertEqual(t, metricdata.Metrics{
		Name: "mxmconnect.events", Unit: "{event}",
		Description: "Sign-ins, refreshes, losses and other events of mxmconnect.",
		Data: metricdata.Sum[int64]{
			Temporality: metricdata.CumulativeTemporality, IsMonotonic: true,
			DataPoints: []metricdata.DataPoint[int64]{
				{Attributes: event("refresh", ""), Value: 2}, // of two users: no user is an attribute
				{Attributes: event("reconnect", "revoked"), Value: 1},
				{Attributes: event("reconnect", "lost_response"), Value: 1},
			},
		},
	}, r.metrics()["mxmconnect.events"], metricdatatest.IgnoreTimestamp(), metricdatatest.IgnoreExemplars())
}

func TestDurationsAreSecondsInBucketsForSeconds(t *testing.T) {
	r := newTelemetry(t)
	r.onEvent(t.Context(), core.Event{Kind: core.EventRefresh, Took: 1500 * time.Millisecond})
	r.onEvent(t.Context(), core.Event{Kind: core.EventLogout}) // took no time: counted, not measured
	m := r.metrics()["mxmconnect.event.duration"]
	require.Equal(t, "s", m.Unit)
	points := m.Data.(metricdata.Histogram[float64]).DataPoints
	require.Len(t, points, 1)
	require.Equal(t, event("refresh", ""), points[0].Attributes)
	require.InDelta(t, 1.5, points[0].Sum, 1e-9)
	require.Equal(t, 300.0, points[0].Bounds[len(points[0].Bounds)-1], "the longest RefreshTimeout")
	require.Less(t, points[0].Bounds[0], 0.1)
}

func TestAnEventIsASpanAsLongAsItTook(t *testing.T) {
	r := newTelemetry(t)
	for _, tc := range []struct {
		event core.Event
		want  codes.Code
		text  string
	}{
		{core.Event{Kind: core.EventLogin, User: "ab12", Took: time.Second}, codes.Unset, ""},
		{core.Event{Kind: core.EventRefreshFailed, Reason: "upstream", Took: time.Second, Err: errors.New("the token endpoint answered 503")}, codes.Error, "the token endpoint answered 503"},
		{core.Event{Kind: core.EventReconnect, Reason: "revoked", User: "ab12"}, codes.Error, "revoked"},
	} {
		r.spans.Reset()
		r.onEvent(t.Context(), tc.event)
		require.Len(t, r.spans.Ended(), 1)
		span := r.spans.Ended()[0]
		require.Equal(t, "musixmatch "+string(tc.event.Kind), span.Name())
		require.Equal(t, tc.event.Took, span.EndTime().Sub(span.StartTime()))
		require.WithinDuration(t, time.Now(), span.EndTime(), 10*time.Second)
		require.Equal(t, sdktrace.Status{Code: tc.want, Description: tc.text}, span.Status())
		attrs := attribute.NewSet(span.Attributes()...)
		user, found := attrs.Value("user.hash")
		require.Equal(t, tc.event.User != "", found)
		require.Equal(t, tc.event.User, user.AsString())
	}
}

// The whole way through core and a browser: what arrives, and that nothing
// that is secret, or names a user, is in it.
func TestSignInRefreshAndLoss(t *testing.T) {
	r := newTelemetry(t)
	musixmatch := mxmtest.NewServer()
	defer musixmatch.Close()
	musixmatch.SignInAs(alice)
	app := httptest.NewUnstartedServer(nil)
	cfg := musixmatch.Config("http://" + app.Listener.Addr().String())
	cfg.OnEvent = r.onEvent
	cfg.Logger = slog.New(slog.DiscardHandler)
	cfg.RefreshTimeout = time.Second // a token is new for some times as long
	auth, err := core.New(cfg)
	require.NoError(t, err)
	defer auth.Close(context.Background())
	mux := http.NewServeMux()
	nethttpmw.Mount(mux, auth)
	tracer := r.tracers.Tracer("the application")
	app.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		ctx, span := tracer.Start(req.Context(), req.URL.Path)
		defer span.End()
		mux.ServeHTTP(w, req.WithContext(ctx))
	})
	app.Start()
	defer app.Close()

	secrets := []string{alice, cfg.ClientSecret, musixmatch.URL}
	browser := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	follow := func(to string, cookies []*http.Cookie) *http.Response {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, to, nil)
		require.NoError(t, err)
		for _, c := range cookies {
			req.AddCookie(c)
		}
		resp, err := browser.Do(req)
		require.NoError(t, err)
		resp.Body.Close()
		for _, values := range req.URL.Query() {
			secrets = append(secrets, values...)
		}
		return resp
	}
	start := follow(app.URL+"/auth/musixmatch/login", nil)
	back := follow(start.Header.Get("Location"), nil)
	done := follow(back.Header.Get("Location"), start.Cookies())
	require.Equal(t, http.StatusSeeOther, done.StatusCode)
	follow(app.URL+"/auth/musixmatch/callback?code=stolen&state=forged", nil)
	for _, c := range append(start.Cookies(), done.Cookies()...) {
		if c.Value != "" {
			secrets = append(secrets, c.Value)
		}
	}
	keep := func() {
		for _, f := range musixmatch.Live(alice) {
			secrets = append(secrets, f.AccessToken, f.RefreshToken)
		}
	}

	keep()
	client := auth.Client(t.Context(), alice)
	call := func() error {
		resp, err := client.Get(musixmatch.APIURL() + "/whoami")
		if err == nil {
			err = resp.Body.Close()
		}
		return err
	}
	musixmatch.ExpireAccessTokens(alice)
	require.NoError(t, call())
	keep()
	musixmatch.Revoke(alice)
	require.Eventually(t, func() bool { return errors.Is(call(), core.ErrReconnect) },
		20*time.Second, 50*time.Millisecond, "a token that was just issued may not be known yet, so its 401 is passed on")
	require.NoError(t, auth.Close(t.Context()), "callers are served first, then events are told")

	counted := map[attribute.Set]int64{}
	for _, p := range r.metrics()["mxmconnect.events"].Data.(metricdata.Sum[int64]).DataPoints {
		counted[p.Attributes] = p.Value
	}
	require.Equal(t, map[attribute.Set]int64{
		event("login", ""):                 1,
		event("login_failed", "bad_state"): 1,
		event("refresh", ""):               1,
		event("reconnect", "revoked"):      1,
	}, counted)

	parents := map[string]string{}
	names := map[string]string{}
	for _, s := range r.spans.Ended() {
		names[s.SpanContext().SpanID().String()] = s.Name()
	}
	for _, s := range r.spans.Ended() {
		parents[s.Name()] = names[s.Parent().SpanID().String()]
	}
	require.Equal(t, mxmtest.CallbackPath, parents["musixmatch login"])
	require.Contains(t, parents, "musixmatch refresh")
	require.Empty(t, parents["musixmatch refresh"], "it is nobody's request's")

	everything := fmt.Sprintf("%+v %+v", r.metrics(), tracetest.SpanStubsFromReadOnlySpans(r.spans.Ended()))
	require.Contains(t, everything, "bad_state")
	require.Greater(t, len(secrets), 12)
	for _, secret := range secrets {
		require.NotContains(t, everything, secret)
	}
}

// A provider that cannot make an instrument is found at start.
func TestInstrumentsAreMadeAtStart(t *testing.T) {
	_, err := mxmotel.OnEvent(brokenProvider{}, sdktrace.NewTracerProvider())
	require.ErrorIs(t, err, errBroken)
}

var errBroken = errors.New("no more instruments")

type brokenProvider struct{ noop.MeterProvider }

func (brokenProvider) Meter(string, ...metric.MeterOption) metric.Meter { return brokenMeter{} }

type brokenMeter struct{ noop.Meter }

func (brokenMeter) Float64Histogram(string, ...metric.Float64HistogramOption) (metric.Float64Histogram, error) {
	return noop.Float64Histogram{}, errBroken
}
