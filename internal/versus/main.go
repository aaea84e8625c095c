// Command versus measures this project beside others that do a part of the same work, side by side
// in one run, and prints a table of ratios. It fetches and builds the others, each at a version
// that it names; none of them is in this repository.
//
// The two of a pair take turns, so that whatever else the machine does meets both. A row is the
// median over the turns.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"time"
)

// A row is one comparison. Each side does the work once a call and says how long one piece took.
type row struct {
	what        string
	ours, peer  func(context.Context) (time.Duration, error)
	peerName    string
	turns       int
	notThePeers string // what one of the two does beyond the other
}

func main() {
	short := flag.Bool("short", false, "one short turn each: that it works, not how fast")
	only := flag.String("only", "", "one part: quotes, witness or log")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *short, *only); err != nil {
		fmt.Fprintln(os.Stderr, "versus:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, short bool, only string) error {
	dir, err := os.MkdirTemp("", "versus")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fmt.Println("| what is compared | ours | peer | ours ÷ peer | what one does and the other does not |")
	fmt.Println("|---|---|---|---|---|")
	for _, part := range []struct {
		name string
		rows func(ctx context.Context, dir string, short bool) ([]row, func(), error)
	}{{"quotes", quotes}, {"witness", witnesses}, {"log", logs}} {
		if only != "" && only != part.name {
			continue
		}
		if err := compare(ctx, dir, short, part.rows); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return nil
}

func compare(ctx context.Context, dir string, short bool, part func(context.Context, string, bool) ([]row, func(), error)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	rows, stop, err := part(ctx, dir, short)
	if err != nil {
		return err
	}
	defer stop()
	for _, r := range rows {
		if short {
			r.turns = 1
		}
		ours, peer, err := r.measure(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", r.what, err)
		}
		fmt.Printf("| %s | %s | %s: %s | %.2f | %s |\n", r.what, round(ours), r.peerName, round(peer), float64(ours)/float64(peer), r.notThePeers)
	}
	return nil
}

// measure has both sides take turns, and returns the median of each.
func (r *row) measure(ctx context.Context) (ours, peer time.Duration, err error) {
	var a, b []time.Duration
	for range r.turns {
		x, errA := r.ours(ctx)
		y, errB := r.peer(ctx)
		if err := errors.Join(errA, errB); err != nil {
			return 0, 0, err
		}
		a, b = append(a, x), append(b, y)
	}
	return median(a), median(b), nil
}

func median(list []time.Duration) time.Duration {
	slices.Sort(list)
	return list[len(list)/2]
}

func round(d time.Duration) time.Duration {
	switch {
	case d > 100*time.Millisecond:
		return d.Round(time.Millisecond)
	case d > time.Millisecond:
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(time.Microsecond)
}

// repeat times a function over n calls.
func repeat(n int, f func() error) (time.Duration, error) {
	begun := time.Now()
	for range n {
		if err := f(); err != nil {
			return 0, err
		}
	}
	return time.Since(begun) / time.Duration(n), nil
}
