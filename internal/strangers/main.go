//go:build linux

// Command strangers runs honest publishers, readers and clients beside strangers who take what they
// can, and says what each stranger cost them.
//
// It starts the project's own processes on loopback addresses: two logs, two witnesses, an auditor,
// and a monitor. A reverse proxy stands before the log. Honest load runs beside each stranger, then
// beside all of them together. Each stranger comes from addresses of its own (127.0.x.y), and all
// from a process of the lowest priority: they stand for other machines, and take no processor from
// the client that is measured (parts.go).
//
// In each phase the honest load runs alone and beside the stranger in turns, so that what else the
// machine does meets both. It prints the median and the 99th percentile of both, their ratios, and
// how much processor time each process took.
//
// A phase with a ratio over five is tried again, up to three times, and the lowest of each ratio
// counts: what the machine did once is no verdict. The exit status is 1 if an honest request
// failed, a process took more memory than its stated limit, or a ratio was over five in each try.
// It is 3 if nothing could be tried.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
)

func main() {
	if play() {
		return
	}
	binary := flag.String("poclog", "bin/poclog", "the program that is tried")
	short := flag.Bool("short", false, "a few strangers and little honest load")
	only := flag.String("only", "", "only phases whose name contains this")
	flag.Parse()
	scale := full
	if *short {
		scale = little
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	r, err := run(ctx, *binary, *only, scale, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "strangers:", err)
		os.Exit(3)
	}
	if len(r.failures()) > 0 || len(r.slower()) > 0 {
		os.Exit(1)
	}
}

// A scale says how much of everything there is.
type scale struct {
	Rounds                          int // of each phase: honest load alone, and beside strangers
	Tries                           int // of a phase with a ratio over the limit
	Publishers, Submissions, Asking int // honest: publishers make so many submissions each in a round; who ask the monitor

	Idle     int // idle connections
	Slow     int // slow bodies
	Flooders int // posting at once, each as fast as it is answered but for a pause
	Repeats  int // who repeat the public checkpoint at the witness
	Keys     int // who submit certificates with huge keys
	Askers   int // who ask about quotes of a log that is down
	Readers  int // slow readers of files
}

var (
	full   = scale{Rounds: 3, Tries: 3, Publishers: 4, Submissions: 5, Asking: 4, Idle: 2000, Slow: 500, Flooders: 16, Repeats: 8, Keys: 8, Askers: 16, Readers: 200}
	little = scale{Rounds: 1, Tries: 1, Publishers: 2, Submissions: 3, Asking: 1, Idle: 100, Slow: 20, Flooders: 2, Repeats: 2, Keys: 1, Askers: 4, Readers: 10}
)
