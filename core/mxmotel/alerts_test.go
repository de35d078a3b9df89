package mxmotel_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/mxmotel"
	"github.com/mxmconnect/mxmconnect/internal/testall"
)

// alertRules returns the rules of docs/production.md.
func alertRules(t *testing.T) string {
	page, err := os.ReadFile("../../docs/production.md")
	require.NoError(t, err)
	_, rules, found := strings.Cut(string(page), "```yaml\n")
	require.True(t, found)
	rules, _, _ = strings.Cut(rules, "```")
	return rules
}

// Every name in the rules is one that the exporter for Prometheus makes of ours.
func TestAlertRulesNameWhatIsExported(t *testing.T) {
	r := newTelemetry(t)
	onSweep, err := mxmotel.OnSweep(r.meters)
	require.NoError(t, err)
	r.onEvent(t.Context(), core.Event{Kind: core.EventRefresh, Reason: "salvaged", Took: time.Second})
	onSweep(t.Context(), core.Sweep{OldestRefresh: time.Now(), OlderKeys: map[string]int{"k": 1}})

	known := map[string]bool{}
	for name, m := range r.metrics() {
		if m.Unit == "s" {
			name += "_seconds"
		}
		var attrs []attribute.Set
		switch data := m.Data.(type) {
		case metricdata.Sum[int64]:
			name += "_total"
			attrs = append(attrs, data.DataPoints[0].Attributes)
		case metricdata.Histogram[float64]:
			name += "_bucket"
		case metricdata.Gauge[int64]:
			attrs = append(attrs, data.DataPoints[0].Attributes)
		}
		known[strings.ReplaceAll(name, ".", "_")] = true
		for _, set := range attrs {
			for _, attr := range set.ToSlice() {
				known[strings.ReplaceAll(string(attr.Key), ".", "_")] = true
			}
		}
	}
	used := regexp.MustCompile(`mxmconnect_[a-z_]+`).FindAllString(alertRules(t), -1)
	require.NotEmpty(t, used)
	for _, name := range used {
		require.True(t, known[name], name)
	}
}

// Prometheus takes the rules of docs/production.md, and they fire when they should.
func TestAlertRules(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		testall.Missing(t, "promtool", "prometheus")
	}
	rules := alertRules(t)
	cases, err := os.ReadFile("testdata/alerts.yml")
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "production.yml"), []byte(rules), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "alerts.yml"), cases, 0o600))

	cmd := exec.Command(promtool, "test", "rules", "alerts.yml")
	cmd.Dir = dir
	said, err := cmd.CombinedOutput()
	require.NoError(t, err, string(said))
}
