package mxmotel_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/mxmotel"
)

func TestGaugesShowTheLastSweep(t *testing.T) {
	r := newTelemetry(t)
	onSweep, err := mxmotel.OnSweep(r.meters)
	require.NoError(t, err)

	// shown maps name and attributes to the value.
	shown := func() map[string]string {
		all := map[string]string{}
		for name, m := range r.metrics() {
			switch data := m.Data.(type) {
			case metricdata.Gauge[int64]:
				for _, p := range data.DataPoints {
					all[fmt.Sprint(name, " ", p.Attributes.Encoded(attribute.DefaultEncoder()))] = fmt.Sprint(p.Value, m.Unit)
				}
			case metricdata.Gauge[float64]:
				for _, p := range data.DataPoints {
					all[fmt.Sprint(name, " ", p.Attributes.Encoded(attribute.DefaultEncoder()))] = fmt.Sprintf("%.1f%s", p.Value, m.Unit)
				}
			}
		}
		return all
	}
	var none metricdata.ResourceMetrics
	require.NoError(t, r.reader.Collect(t.Context(), &none))
	require.Empty(t, none.ScopeMetrics, "before the first sweep")

	at := time.UnixMilli(1_800_000_000_500)
	onSweep(t.Context(), core.Sweep{
		Started: at, OldestRefresh: at.Add(-time.Hour), Live: 5, Reconnect: 2, Disconnected: 1, InDoubt: 3,
		OlderKeys: map[string]int{"k1": 4}, UnknownKeys: map[string]int{"k0": 6},
	})
	require.Equal(t, map[string]string{
		"mxmconnect.grants mxmconnect.grant.status=live":                      "5{grant}",
		"mxmconnect.grants mxmconnect.grant.status=reconnect":                 "2{grant}",
		"mxmconnect.grants mxmconnect.grant.status=disconnected":              "1{grant}",
		"mxmconnect.grants.in_doubt ":                                         "3{grant}",
		"mxmconnect.grants.oldest_refresh ":                                   "1799996400.5s",
		"mxmconnect.records mxmconnect.key.id=k1,mxmconnect.key.kind=older":   "4{record}",
		"mxmconnect.records mxmconnect.key.id=k0,mxmconnect.key.kind=unknown": "6{record}",
		"mxmconnect.sweep.started ":                                           "1800000000.5s",
	}, shown())

	onSweep(t.Context(), core.Sweep{Started: at.Add(time.Hour)})
	require.Equal(t, map[string]string{
		"mxmconnect.grants mxmconnect.grant.status=live":         "0{grant}",
		"mxmconnect.grants mxmconnect.grant.status=reconnect":    "0{grant}",
		"mxmconnect.grants mxmconnect.grant.status=disconnected": "0{grant}",
		"mxmconnect.grants.in_doubt ":                            "0{grant}",
		"mxmconnect.sweep.started ":                              "1800003600.5s",
	}, shown(), "nothing is left of a key that nothing is sealed with, nor of a refresh")
}
