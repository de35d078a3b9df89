package mxmotel_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/mxmotel"
	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

// An application hands OnEvent its own providers; this one reads its metrics
// back instead of exporting them.
func Example() {
	ctx := context.Background()
	musixmatch := mxmtest.NewServer()
	defer musixmatch.Close()
	reader := sdkmetric.NewManualReader()
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	tracers := sdktrace.NewTracerProvider()

	onEvent, err := mxmotel.OnEvent(meters, tracers)
	if err != nil {
		log.Fatal(err)
	}
	cfg := musixmatch.Config("http://localhost:8080")
	cfg.OnEvent = onEvent
	cfg.Logger = slog.New(slog.DiscardHandler)
	auth, err := core.New(cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer auth.Close(ctx)
	if _, err := auth.AppTokenSource(ctx).Token(); err != nil {
		log.Fatal(err)
	}

	var seen metricdata.ResourceMetrics
	if err := reader.Collect(ctx, &seen); err != nil {
		log.Fatal(err)
	}
	for _, m := range seen.ScopeMetrics[0].Metrics {
		fmt.Println(m.Name, m.Unit)
	}
	// Output:
	// mxmconnect.events {event}
	// mxmconnect.event.duration s
}
