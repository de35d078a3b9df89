// Command compare measures mxmconnect and the libraries that applications use
// for the same work, all in one run, and prints the result as a table:
//
//	go run .                  # about four minutes
//	go run . -write ../../docs/measured.md
//
// It is a module of its own, so that nobody who uses mxmconnect compiles its
// peers. They are used as their documentation shows. Every contender of a group
// does the same work on the same request, and takes turns with the others: what
// counts is its fastest round, and the ratio. A Redis and a MariaDB server are
// started if they are installed; without them those rows are missing.
// Last, all of them work at a distance: see far.go.
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"time"
)

func main() {
	effort := effort{}
	write := flag.String("write", "", "the `page` whose part between the markers is replaced; compare.svg goes beside it")
	only := flag.String("only", "", "measure only groups whose `title` contains this")
	profile := flag.String("profile", "", "write a CPU profile of mxmconnect's contenders to this `file`")
	flag.DurationVar(&effort.round, "round", 25*time.Millisecond, "how long a contender is measured at a time")
	flag.IntVar(&effort.rounds, "rounds", 20, "how often")
	sessions := flag.Int("sessions", 100, "users of the stampede")
	flag.Parse()

	if err := run(effort, *sessions, *only, *write, *profile); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(e effort, sessions int, only, write, profile string) error {
	redis, err := startRedis()
	if err != nil {
		return err
	}
	defer redis.stop()
	if !redis.running() {
		fmt.Fprintln(os.Stderr, "redis-server is not installed (Debian package redis-server): its rows are missing")
	}
	mariadb, err := startMariaDB()
	if err != nil {
		return err
	}
	defer mariadb.stop()
	if !mariadb.running() {
		fmt.Fprintln(os.Stderr, "mariadbd is not installed (Debian package mariadb-server): its rows are missing")
	}
	stopProfile, err := startProfile(profile)
	if err != nil {
		return err
	}
	var results []result
	for _, g := range groups(redis, mariadb) {
		if !strings.Contains(strings.ToLower(g.title), strings.ToLower(only)) {
			continue
		}
		fmt.Fprintln(os.Stderr, g.title)
		r, err := g.measure(e, profile != "")
		if err != nil {
			return fmt.Errorf("%s: %w", g.title, err)
		}
		results = append(results, r)
	}
	if err := stopProfile(); err != nil {
		return err
	}
	var storms []storm
	if only == "" || strings.Contains("stampede", only) {
		fmt.Fprintln(os.Stderr, "stampede")
		storms = stampede(sessions)
	}
	var travels []farRow
	if only == "" || strings.Contains("far away", only) {
		fmt.Fprintln(os.Stderr, "far away")
		travels = travel()
	}
	if write == "" {
		fmt.Print(report(results, storms, travels, ""))
		return nil
	}
	image := "![Time per piece of work, mxmconnect and others](" + chartName + ")\n\n"
	return writePage(write, report(results, storms, travels, image), chart(results))
}

// groups is what is compared.
func groups(r *redisServer, m *mariadbServer) []group {
	all := []group{
		requestOnNetHTTP(), requestWithIdleTimeout(), requestOnGin(), requestOnEcho(), requestOnEchoV5(),
	}
	if r.running() {
		all = append(all, requestOnRedis(r), requestOnRedisWithIdleTimeout(r), requestOnRedisWithCache(r))
	}
	if m.running() {
		all = append(all, requestOnMariaDB(m))
	}
	return append(all, loginRedirect(), callback(), cachedToken())
}
