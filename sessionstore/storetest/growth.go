package storetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Engine is what a store stands on, without the store.
type Engine struct {
	// Load adds sessions as the store writes them, by any shortcut, and leaves
	// the engine at rest.
	Load func(ctx context.Context, tokens []string, data []byte, expiry time.Time) error
	// Read reads the data of a session: a GET, a SELECT by its key, a look into
	// a map.
	Read func(ctx context.Context, token string) error
	// Size returns how many bytes it takes.
	Size func(ctx context.Context) (int64, error)
}

// BenchmarkGrowth measures how finding a session at random grows with their
// number: from 1 to 1000, or to the number in MXM_BENCH_SESSIONS. The columns:
//
//   - ns/op: a find at random.
//   - raw-ns/op and x-raw: the engine's own read at random, and how many times
//     that a find takes. What this leaves is the store's.
//   - x-one: how many times the find takes of one that is always for the same
//     session. This is the growth, without what the machine did meanwhile.
//   - B/session: what a session takes of the engine, from 10 000 on.
//
// All are measured in turn, in batches, of which the median counts: another
// process that gets in between is not a property of the store. Compare the
// ratios: where the engine is another process, the same read of a single session
// was seen to take 20 µs on a busy machine and 60 µs on an idle one.
func BenchmarkGrowth(b *testing.B, s Store, e Engine) {
	ctx := b.Context()
	most := 1000
	if v := os.Getenv("MXM_BENCH_SESSIONS"); v != "" {
		var err error
		most, err = strconv.Atoi(v)
		check(b, err)
	}
	empty, err := e.Size(ctx)
	check(b, err)
	var tokens []string
	for n := 1; n <= most; n *= 10 {
		loaded := len(tokens)
		for len(tokens) < n {
			tokens = append(tokens, unique())
		}
		check(b, e.Load(ctx, tokens[loaded:], make([]byte, 200), time.Now().Add(24*time.Hour)))
		size, err := e.Size(ctx)
		check(b, err)

		b.Run(strconv.Itoa(n), func(b *testing.B) {
			find := func(ctx context.Context, token string) error {
				_, found, err := s.FindCtx(ctx, token)
				if err == nil && !found {
					err = fmt.Errorf("session %s is missing", token)
				}
				return err
			}
			random := rand.New(rand.NewPCG(1, uint64(n)))
			var finds, reads, ones []float64
			for b.Loop() {
				finds = append(finds, batch(b, random, tokens, find))
				reads = append(reads, batch(b, random, tokens, e.Read))
				ones = append(ones, batch(b, random, tokens[:1], find))
			}
			ns, raw, one := median(finds), median(reads), median(ones)
			b.ReportMetric(ns, "ns/op")
			b.ReportMetric(raw, "raw-ns/op")
			b.ReportMetric(ns/raw, "x-raw")
			b.ReportMetric(ns/one, "x-one")
			if n >= 10_000 { // below, what an engine sets aside weighs more
				b.ReportMetric(float64(size-empty)/float64(n), "B/session")
			}
		})
	}
}

// batch reads a hundred of the tokens and returns the time of one in nanoseconds.
func batch(b *testing.B, random *rand.Rand, tokens []string, read func(context.Context, string) error) float64 {
	const size = 100
	picked := make([]string, size)
	for i := range picked { // fresh, as a request brings it along
		picked[i] = strings.Clone(tokens[random.IntN(len(tokens))])
	}
	start := time.Now()
	for _, token := range picked {
		check(b, read(b.Context(), token))
	}
	return float64(time.Since(start)) / size
}

func median(of []float64) float64 {
	slices.Sort(of)
	return of[len(of)/2]
}
