//go:build unix

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

type options struct {
	store     string // redis, postgres, mariadb, sqlite, memory or a URL
	instances int
	users     int
	length    time.Duration
	refreshes int // ends it before; 0: it does not
	pace      time.Duration
	seed      uint64
	faults    map[kind]time.Duration // how long it is from one to the next, on average

	refreshTimeout time.Duration
	longestLife    time.Duration // of an access token
	idleTimeout    time.Duration
	heapFactor     float64
	every          time.Duration
	mutant         string
	logs           string
}

const (
	usage = `Lets users live on instances of an application while things go wrong, and prints
who lost what. Exit status: 0 if nothing was lost that could have been kept; 1 if
something was, or memory or goroutines grew; 2 if it could not run. Ctrl-C ends
it early, with the ledger.

`
	faultUsage = `
Faults, and how long it is from one to the next on average:
`
)

func parse(args []string, out io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("soak", flag.ContinueOnError)
	f.SetOutput(out)
	f.Usage = func() {} // so that a wrong flag is one line
	f.StringVar(&o.store, "store", "redis", "redis, postgres, mariadb (started here), sqlite, memory, or a URL of one of the first three")
	f.IntVar(&o.instances, "instances", 3, "how many processes run the application")
	f.IntVar(&o.users, "users", 300, "how many users there are")
	f.DurationVar(&o.length, "for", 10*time.Minute, "how long")
	f.IntVar(&o.refreshes, "refreshes", 0, "end after so many, of which each must take one request and lose nobody")
	f.DurationVar(&o.pace, "pace", 3*time.Second, "how long a user rests between two actions, on average")
	f.Uint64Var(&o.seed, "seed", 0, "chooses faults and actions; 0: a random one, which is printed")
	list := f.String("faults", "all", "all, none, or a list: kill,stop=30s,lost")
	f.DurationVar(&o.refreshTimeout, "refresh-timeout", 2*time.Second, "Config.RefreshTimeout; a lease is half as much again")
	f.DurationVar(&o.longestLife, "life", 45*time.Second, "the longest life of an access token; the shortest is 5s")
	f.DurationVar(&o.idleTimeout, "idle-timeout", 90*time.Second, "of a session; no user rests for so long")
	f.Float64Var(&o.heapFactor, "heap", 2, "by how much heaps may grow after the first tenth, and 8 MB more")
	f.DurationVar(&o.every, "progress", 30*time.Second, "from one line of progress to the next")
	f.StringVar(&o.mutant, "mutant", "", "break the instances, which must be found: lastwrite ignores what it overwrites")
	f.StringVar(&o.logs, "logs", "", "keep the instances' logs in this directory")
	err := f.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(out, usage)
		f.VisitAll(func(f *flag.Flag) {
			fmt.Fprintf(out, "  -%-16s %s", f.Name, f.Usage)
			if f.DefValue != "" && f.DefValue != "0" {
				fmt.Fprintf(out, " (%s)", f.DefValue)
			}
			fmt.Fprintln(out)
		})
		fmt.Fprint(out, faultUsage)
		for _, k := range kinds {
			fmt.Fprintf(out, "  %-6s %-5s %s\n", k.name, k.every, k.what)
		}
		return o, err
	}
	if err == nil {
		if err = o.check(f.NArg() > 0, *list); err == nil {
			return o, nil
		}
		fmt.Fprintln(out, "soak:", err)
	}
	fmt.Fprintln(out, "soak: -h explains every flag")
	return o, err
}

func (o *options) check(arguments bool, list string) (err error) {
	switch {
	case arguments:
		return errors.New("there are no arguments but flags")
	case o.instances < 1 || o.instances > 50:
		return errors.New("-instances must be from 1 to 50")
	case o.users < 1 || o.users > 100_000:
		return errors.New("-users must be from 1 to 100000")
	case o.length < time.Second:
		return errors.New("-for must be at least 1s")
	case o.refreshes < 0:
		return errors.New("-refreshes must not be negative")
	case o.pace < 10*time.Millisecond:
		return errors.New("-pace must be at least 10ms")
	case o.refreshTimeout < time.Second || o.refreshTimeout > 5*time.Minute:
		return errors.New("-refresh-timeout must be from 1s to 5m")
	case o.longestLife < shortestLife || o.longestLife > time.Hour:
		return errors.New("-life must be from 5s to 1h")
	case o.idleTimeout < 60*time.Second:
		return errors.New("-idle-timeout must be at least 1m: users rest, and outages last")
	case o.heapFactor < 1:
		return errors.New("-heap must be at least 1")
	case o.every < time.Second:
		return errors.New("-progress must be at least 1s")
	case o.mutant != "" && o.mutant != lastWrite:
		return errors.New("-mutant knows " + lastWrite + " only")
	}
	if o.faults, err = parseFaults(list); err != nil {
		return err
	}
	switch o.store {
	case "redis", "postgres", "mariadb":
	case "sqlite":
		o.drop(storeKinds...)
	case "memory":
		if o.instances > 1 {
			return errors.New("-store memory is the memory of one process: -instances must be 1")
		}
		o.drop(append(storeKinds, kill, term)...)
	default:
		scheme, rest, _ := strings.Cut(o.store, "://")
		if rest == "" || !slices.Contains([]string{"redis", "rediss", "postgres", "postgresql", "mysql"}, scheme) {
			return errors.New("-store must be redis, postgres, mariadb, sqlite, memory, or a URL redis://HOST:PORT/DB, redis://HOST:PORT,HOST:PORT of a cluster, postgres://USER@HOST:PORT/DB or mysql://USER@HOST:PORT/DB")
		}
		o.drop(storeKinds...) // a server that was lent is not harmed
	}
	if o.seed == 0 {
		o.seed = rand.Uint64()
	}
	return nil
}

func (o *options) drop(ks ...kind) {
	for _, k := range ks {
		delete(o.faults, k)
	}
}

func parseFaults(list string) (map[kind]time.Duration, error) {
	faults := map[kind]time.Duration{}
	switch list {
	case "none":
		return faults, nil
	case "all":
		for _, k := range kinds {
			faults[k.name] = k.every
		}
		return faults, nil
	}
	for _, part := range strings.Split(list, ",") {
		name, every, timed := strings.Cut(part, "=")
		i := slices.IndexFunc(kinds, func(k kindOf) bool { return string(k.name) == name })
		if i < 0 {
			return nil, fmt.Errorf("-faults: there is no fault %q; -h lists them", name)
		}
		faults[kinds[i].name] = kinds[i].every
		if timed {
			d, err := time.ParseDuration(every)
			if err != nil || d < 10*time.Millisecond {
				return nil, fmt.Errorf("-faults: %s=%s is not a duration such as 30s", name, every)
			}
			faults[kinds[i].name] = d
		}
	}
	return faults, nil
}
