package simulation_test

import (
	"math/bits"
	"time"
)

// dice decides by what is decided, not by what was decided before: the order in
// which goroutines come to ask does not matter.
type dice uint64

func (w *world) roll(what string, about ...int) *dice {
	h := mix(w.seed ^ 0x9e3779b97f4a7c15)
	for i := range len(what) {
		h = mix(h ^ uint64(what[i]))
	}
	for _, n := range about {
		h = mix(h ^ uint64(n+1)<<8)
	}
	d := dice(h)
	return &d
}

// mix is the finalizer of SplitMix64.
func mix(z uint64) uint64 {
	z += 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func (d *dice) next() uint64 {
	*d = dice(mix(uint64(*d)))
	return uint64(*d)
}

func (d *dice) chance(p float64) bool { return float64(d.next()>>11)/(1<<53) < p }

// n returns a number below n.
func (d *dice) n(n int) int {
	hi, _ := bits.Mul64(d.next(), uint64(n))
	return int(hi)
}

// between returns a duration to the nanosecond, so that no two events of a
// history happen at the same time.
func (d *dice) between(from, to time.Duration) time.Duration {
	return from + time.Duration(d.n(int(to-from)))
}

func pick[T any](d *dice, from ...T) T { return from[d.n(len(from))] }
