package mxmotel

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/mxmconnect/mxmconnect/core"
)

const scope = "github.com/mxmconnect/mxmconnect/core/mxmotel"

const (
	kindKey   = attribute.Key("mxmconnect.event.kind")
	reasonKey = attribute.Key("mxmconnect.event.reason")
	userKey   = attribute.Key("user.hash")
)

// OpenTelemetry's default buckets are meant for milliseconds. These reach to
// the longest RefreshTimeout.
var buckets = []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300}

// OnEvent returns a function for core.Config.OnEvent that records every event
// with the two providers. It fails if an instrument cannot be made. The
// function is safe for concurrent use and blocks no longer than the providers do.
func OnEvent(meters metric.MeterProvider, tracers trace.TracerProvider) (func(context.Context, core.Event), error) {
	meter, tracer := meters.Meter(scope), tracers.Tracer(scope)
	events, err1 := meter.Int64Counter("mxmconnect.events",
		metric.WithUnit("{event}"), metric.WithDescription("Sign-ins, refreshes, losses and other events of mxmconnect."))
	duration, err2 := meter.Float64Histogram("mxmconnect.event.duration",
		metric.WithUnit("s"), metric.WithDescription("How long an event of mxmconnect took."), metric.WithExplicitBucketBoundaries(buckets...))
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	return func(ctx context.Context, e core.Event) {
		attrs := make([]attribute.KeyValue, 0, 3)
		attrs = append(attrs, kindKey.String(string(e.Kind)))
		if e.Reason != "" {
			attrs = append(attrs, reasonKey.String(e.Reason))
		}
		set := metric.WithAttributeSet(attribute.NewSet(attrs...))
		events.Add(ctx, 1, set)
		if e.Took > 0 {
			duration.Record(ctx, e.Took.Seconds(), set)
		}

		if e.User != "" {
			attrs = append(attrs, userKey.String(e.User))
		}
		end := time.Now()
		_, span := tracer.Start(ctx, "musixmatch "+string(e.Kind), trace.WithTimestamp(end.Add(-e.Took)), trace.WithAttributes(attrs...))
		if e.Err != nil {
			span.SetStatus(codes.Error, e.Err.Error())
		} else if e.Kind == core.EventReconnect {
			span.SetStatus(codes.Error, e.Reason)
		}
		span.End(trace.WithTimestamp(end))
	}, nil
}
