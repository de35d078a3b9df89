package main

import (
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strings"
	"time"
)

// report is the tables, in Markdown.
func report(results []result, storms []storm, travels []farRow, chart string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "One run with %s on %s/%s, %s.\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, processor())
	if len(storms) > 0 {
		stormTable(&b, storms)
	}
	if len(travels) > 0 {
		farTable(&b, travels)
	}
	if len(results) > 0 {
		b.WriteString("\nTime per piece of work; × is in units of mxmconnect's: above 1, mxmconnect is ahead.\n\n" + chart)
		timeTable(&b, results)
		explain(&b, results)
	}
	return b.String()
}

func stormTable(b *strings.Builder, storms []storm) {
	fmt.Fprintf(b, "\n%d requests of one user arrive when the access token has expired, while five slower pages without need of a token are under way. The refresh token works once, the token endpoint takes 20 ms, and instances share one store. POSTs of a refresh token per expiry / requests that got no token / **users lost** for good:\n\n|", stampedeRequests)
	for _, c := range columns {
		fmt.Fprintf(b, " | %s", c.title)
	}
	fmt.Fprintf(b, " |\n|---%s|\n", strings.Repeat("|--:", len(columns)))
	for _, s := range storms {
		fmt.Fprintf(b, "| %s |", bold(s.name, s.ours))
		for _, c := range s.cells {
			fmt.Fprintf(b, " %s |", c)
		}
		b.WriteString("\n")
	}
}

func timeTable(b *strings.Builder, results []result) {
	b.WriteString("| | | × | time | allocations | bytes | commands of the server |\n|---|---|--:|--:|--:|--:|--:|\n")
	for _, r := range results {
		title := r.title
		for _, s := range r.scores {
			commands := ""
			if s.commands >= 0 {
				commands = fmt.Sprintf("%.3g", s.commands)
			}
			fmt.Fprintf(b, "| %s | %s | %s | %s | %d | %d | %s |\n", title, bold(s.name, s.ours), number(r.ratio(s)), took(s.time), s.allocs, s.bytes, commands)
			title = ""
		}
	}
}

// explain says where somebody is ahead of mxmconnect, and why.
func explain(b *strings.Builder, results []result) {
	var order []string
	where := map[string][]string{}
	for _, r := range results {
		for _, s := range r.scores {
			if r.ratio(s) >= 0.995 {
				continue
			}
			text := s.name
			if s.why != "" {
				text += ": " + s.why
			}
			if where[text] == nil {
				order = append(order, text)
			}
			where[text] = append(where[text], r.title+" ×"+number(r.ratio(s)))
		}
	}
	if len(order) > 0 {
		b.WriteString("\nFaster than mxmconnect:\n\n")
	}
	for _, text := range order {
		fmt.Fprintf(b, "- %s (%s).\n", text, strings.Join(where[text], "; "))
	}
}

func bold(name string, ours bool) string {
	if ours {
		return "**" + name + "**"
	}
	return name
}

// number is a ratio to two digits or more.
func number(x float64) string {
	switch {
	case x >= 10:
		return fmt.Sprintf("%.0f", x)
	case x >= 1:
		return fmt.Sprintf("%.1f", x)
	}
	return fmt.Sprintf("%.2g", x)
}

func took(d time.Duration) string {
	switch {
	case d >= 100*time.Microsecond:
		return fmt.Sprintf("%.0f µs", float64(d)/1e3)
	case d >= time.Microsecond:
		return fmt.Sprintf("%.1f µs", float64(d)/1e3)
	}
	return fmt.Sprintf("%d ns", d)
}

var modelName = regexp.MustCompile(`(?m)^model name\s*: (.*)$`)

func processor() string {
	cpus := fmt.Sprintf("%d CPUs", runtime.NumCPU())
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return cpus
	}
	if m := modelName.FindSubmatch(info); m != nil {
		return cpus + " (" + string(m[1]) + ")"
	}
	return cpus
}
