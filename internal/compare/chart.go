package main

import (
	"fmt"
	"html"
	"os"
	"path/filepath"
	"strings"
)

const (
	chartName  = "compare.svg"
	chartWidth = 760
	barStart   = 330
	barSpace   = 300 // of the longest bar of a group
	barHeight  = 14
	lineHeight = 22
)

// chart draws the table: in each group, bars of time, the longest as long as
// there is room for. It fits a light page and a dark one.
func chart(results []result) string {
	var b strings.Builder
	y := 20
	for _, r := range results {
		longest := r.ours().time
		for _, s := range r.scores {
			longest = max(longest, s.time)
		}
		fmt.Fprintf(&b, `<text class="title" x="0" y="%d">%s</text>`+"\n", y, html.EscapeString(r.title))
		for _, s := range r.scores {
			y += lineHeight
			class := "peer"
			if s.ours {
				class = "ours"
			}
			width := max(1, int(float64(barSpace)*float64(s.time)/float64(longest)))
			fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text>`, barStart-8, y, html.EscapeString(s.name))
			fmt.Fprintf(&b, `<rect class="%s" x="%d" y="%d" width="%d" height="%d" rx="2"/>`, class, barStart, y-barHeight+3, width, barHeight)
			fmt.Fprintf(&b, `<text class="value" x="%d" y="%d">%s · ×%s</text>`+"\n", barStart+width+8, y, took(s.time), number(r.ratio(s)))
		}
		y += lineHeight * 7 / 4
	}
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%[1]d" height="%[2]d" role="img" aria-label="Time per piece of work, mxmconnect and others; the table has the numbers">
<style>
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600 }
.value { fill: #57606a }
.ours { fill: #cf3a24 }
.peer { fill: #8c959f }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .value { fill: #9da7b3 }
  .ours { fill: #ff7b63 }
  .peer { fill: #6e7681 }
}
</style>
`, chartWidth, y-lineHeight) + b.String() + "</svg>\n"
}

const (
	begin = "<!-- compare: begin -->\n"
	end   = "<!-- compare: end -->"
)

// writePage replaces what is between the markers of the page in file, and puts
// the chart beside it.
func writePage(file, report, chart string) error {
	old, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, ok1 := strings.Cut(string(old), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		return fmt.Errorf("%s has no markers %q and %q", file, strings.TrimSpace(begin), end)
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(file), chartName), []byte(chart), 0o644); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(before+begin+"\n"+report+"\n"+end+after), 0o644)
}
