package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mxmconnect/mxmconnect/internal/testall"
)

func redisForTest(t *testing.T) *redisServer {
	r, err := startRedis()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.stop)
	if !r.running() {
		if testall.Set() {
			t.Fatal("redis-server is not installed; it is in the Debian package redis-server")
		}
		t.Log("redis-server is not installed; it is in the Debian package redis-server")
	}
	return r
}

func mariadbForTest(t *testing.T) *mariadbServer {
	m, err := startMariaDB()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.stop)
	if !m.running() {
		if testall.Set() {
			t.Fatal("mariadbd is not installed; it is in the Debian package mariadb-server")
		}
		t.Log("mariadbd is not installed; it is in the Debian package mariadb-server")
	}
	return m
}

// A contender that did its work wrong would panic. On Redis and MariaDB an
// authenticated request of ours is exactly one command, on Redis with an idle
// timeout too, and none where the client caches.
func TestEverybodyDoesTheWork(t *testing.T) {
	want := map[string]float64{
		"authenticated request, Redis":                       1,
		"authenticated request, Redis, with an idle timeout": 1,
		"authenticated request, Redis, client-side caching":  0,
		"authenticated request, MariaDB":                     1,
	}
	for _, g := range groups(redisForTest(t), mariadbForTest(t)) {
		r, err := g.measure(effort{round: time.Millisecond, rounds: 1}, false)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range r.scores {
			if s.time <= 0 || s.time == time.Hour {
				t.Errorf("%s, %s: took %s", g.title, s.name, s.time)
			}
		}
		expected, counted := want[g.title]
		if !counted {
			expected = -1
		}
		if got := r.ours().commands; got != expected {
			t.Errorf("%s: %v commands of the server, want %v", g.title, got, expected)
		}
	}
}

// The world of the stampede can tell a good recipe from a bad one.
func TestStampede(t *testing.T) {
	for _, s := range stampede(3) {
		for i, c := range s.cells {
			if s.ours && c != (cell{posts: 1}) {
				t.Errorf("%s, %s: %s", s.name, columns[i].title, c)
			}
		}
		if last := s.cells[len(s.cells)-1]; !s.ours && last.lost != 1 {
			t.Errorf("%s: with two instances and a strict server nobody should be left, but %s", s.name, last)
		}
	}
}

// The table and the chart of docs/measured.md are this program's, of today's
// contenders.
func TestPageHasTheTable(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "measured.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok1 := strings.Cut(string(page), begin)
	section, _, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatal("the markers are missing")
	}
	svg, err := os.ReadFile(filepath.Join("..", "..", "docs", chartName))
	if err != nil {
		t.Fatal(err)
	}
	for d := xml.NewDecoder(strings.NewReader(string(svg))); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%s: %v", chartName, err)
		}
	}
	r, m := redisForTest(t), mariadbForTest(t)
	if !r.running() || !m.running() {
		t.Skip("without Redis and MariaDB there are fewer rows")
	}
	const rerun = "; generate it anew: (cd internal/compare && go run . -write ../../docs/measured.md)"
	for _, g := range groups(r, m) {
		rows := "| " + g.title + " | "
		for _, c := range g.contenders {
			if !strings.Contains(section, rows+bold(c.name, c.ours)+" | ") {
				t.Errorf("the page's table lacks %s, %s%s", g.title, c.name, rerun)
			}
			if !strings.Contains(string(svg), ">"+c.name+"<") {
				t.Errorf("%s lacks %s, %s%s", chartName, g.title, c.name, rerun)
			}
			rows = "|  | "
		}
	}
	for _, w := range farWorks() {
		if !strings.Contains(section, " | "+w.title+" |") {
			t.Errorf("the page's table lacks %s%s", w.title, rerun)
		}
	}
	for _, rec := range recipes() {
		if !strings.Contains(section, rec.name) {
			t.Errorf("the page's table lacks %s%s", rec.name, rerun)
		}
	}
}

func TestWritePageReplacesOnlyItsPart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "page.md")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("above\n" + begin + "old\n" + end + "below\n")
	if err := writePage(file, "new\n", "<svg/>"); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := string(got)
	if !strings.HasPrefix(text, "above\n"+begin) || !strings.HasSuffix(text, end+"below\n") || strings.Contains(text, "old") || !strings.Contains(text, "new") {
		t.Errorf("got %q", text)
	}
	write("no markers\n")
	if err := writePage(file, "new\n", "<svg/>"); err == nil {
		t.Error("a page without markers was accepted")
	}
}
