package mxmotel

import (
	"context"
	"errors"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/mxmconnect/mxmconnect/core"
)

const (
	statusKey   = attribute.Key("mxmconnect.grant.status")
	keyKindKey  = attribute.Key("mxmconnect.key.kind")
	sealedByKey = attribute.Key("mxmconnect.key.id")
)

// OnSweep returns a function for core.Maintenance.OnSweep. The gauges of the meter
// provider show what it was given last, and nothing before. It fails if an
// instrument cannot be made. The function is safe for concurrent use.
func OnSweep(meters metric.MeterProvider) (func(context.Context, core.Sweep), error) {
	meter := meters.Meter(scope)
	grants, err1 := meter.Int64ObservableGauge("mxmconnect.grants",
		metric.WithUnit("{grant}"), metric.WithDescription("Grants by status."))
	inDoubt, err2 := meter.Int64ObservableGauge("mxmconnect.grants.in_doubt",
		metric.WithUnit("{grant}"), metric.WithDescription("Grants with a refresh that is under way or whose outcome is not known."))
	oldest, err3 := meter.Float64ObservableGauge("mxmconnect.grants.oldest_refresh",
		metric.WithUnit("s"), metric.WithDescription("When the live grant that waits longest was refreshed, in Unix time."))
	records, err4 := meter.Int64ObservableGauge("mxmconnect.records",
		metric.WithUnit("{record}"), metric.WithDescription("Records sealed with an older key, or with an unknown one."))
	started, err5 := meter.Float64ObservableGauge("mxmconnect.sweep.started",
		metric.WithUnit("s"), metric.WithDescription("When the last sweep of this instance began, in Unix time."))
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return nil, err
	}
	var last atomic.Pointer[core.Sweep]
	_, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		s := last.Load()
		if s == nil {
			return nil
		}
		for status, n := range map[core.GrantStatus]int{
			core.GrantLive: s.Live, core.GrantReconnect: s.Reconnect, core.GrantDisconnected: s.Disconnected,
		} {
			o.ObserveInt64(grants, int64(n), metric.WithAttributes(statusKey.String(string(status))))
		}
		o.ObserveInt64(inDoubt, int64(s.InDoubt))
		if !s.OldestRefresh.IsZero() {
			o.ObserveFloat64(oldest, float64(s.OldestRefresh.UnixMilli())/1000)
		}
		for kind, byKey := range map[string]map[string]int{"older": s.OlderKeys, "unknown": s.UnknownKeys} {
			for id, n := range byKey {
				o.ObserveInt64(records, int64(n), metric.WithAttributes(keyKindKey.String(kind), sealedByKey.String(id)))
			}
		}
		o.ObserveFloat64(started, float64(s.Started.UnixMilli())/1000)
		return nil
	}, grants, inDoubt, oldest, records, started)
	if err != nil {
		return nil, err
	}
	return func(_ context.Context, s core.Sweep) { last.Store(&s) }, nil
}
