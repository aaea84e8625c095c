//go:build linux

// Command strangers runs honest publishers, readers and clients beside strangers who take what they
// can, and says what each stranger cost them.
//
// It starts the project's own processes on loopback addresses: two logs, two witnesses, an auditor,
// and a monitor. A reverse proxy stands before the log. Honest load runs alone first, then beside
// each stranger, then beside all of them together. Each stranger comes from addresses of its own
// (127.0.x.y).
//
// It prints the median and the 99th percentile of each phase, and their ratios to the honest load
// alone, in the same run. A ratio over five is marked, and is no verdict: the machine decides. The
// exit status is 1 if an honest request failed or a process took more memory than its stated limit,
// and 3 if nothing could be tried.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
)

func main() {
	binary := flag.String("poclog", "bin/poclog", "the program that is tried")
	short := flag.Bool("short", false, "a few strangers and little honest load")
	flag.Parse()
	scale := full
	if *short {
		scale = little
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	r, err := run(ctx, *binary, scale, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "strangers:", err)
		os.Exit(3)
	}
	if len(r.failures()) > 0 {
		os.Exit(1)
	}
}

// A scale says how much of everything there is.
type scale struct {
	publishers, submissions int // honest: so many publishers make so many submissions each in a phase
	reads, questions        int // honest reads of the log, and questions at the monitor

	idle     int // idle connections
	slow     int // slow bodies
	flooders int // posting at once, each as fast as it is answered but for a pause
	repeats  int // who repeat the public checkpoint at the witness
	keys     int // who submit certificates with huge keys
	askers   int // who ask about quotes of a log that is down
	readers  int // slow readers of files
}

var (
	full   = scale{publishers: 4, submissions: 15, reads: 150, questions: 30, idle: 2000, slow: 500, flooders: 16, repeats: 8, keys: 8, askers: 16, readers: 200}
	little = scale{publishers: 2, submissions: 3, reads: 10, questions: 3, idle: 100, slow: 20, flooders: 2, repeats: 2, keys: 1, askers: 4, readers: 10}
)
