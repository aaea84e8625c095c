package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http/httptrace"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"
)

const (
	// firstWait is how long somebody may take to answer before people are told for whom a command
	// waits.
	firstWait = time.Second
	// lastWork is how long a command that was interrupted may work on, where what it does cannot be
	// interrupted.
	lastWork = 2 * time.Second
)

// isService reports whether a command goes on until it is stopped. Services finish what they began,
// and log what they wait for.
func isService(c *cobra.Command) bool {
	if c.Flags().Lookup("listen") != nil {
		return true
	}
	once, every := c.Flags().Lookup("once"), c.Flags().Lookup("every")
	return once != nil && once.Value.String() != "true" || every != nil && every.Value.String() != "0s"
}

// A hostWaiter tells people for whom a command waits: for whoever was asked last, and has not
// answered for a while. It sees all HTTP requests that are made with its context.
type hostWaiter struct {
	to io.Writer

	mu    sync.Mutex // guards what follows
	host  string     // that was asked last
	timer *time.Timer
	muted bool
	told  map[string]bool
}

type waiterKey struct{}

// withWaiter adds a hostWaiter to a context.
func withWaiter(ctx context.Context, to io.Writer) context.Context {
	w := &hostWaiter{to: to, told: make(map[string]bool)}
	ctx = context.WithValue(ctx, waiterKey{}, w)
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GetConn: w.asked, GotFirstResponseByte: w.answered})
}

// muteWaiter leaves it to somebody else to say what is waited for, until the function that it
// returns is called.
func muteWaiter(ctx context.Context) (again func()) {
	w, ok := ctx.Value(waiterKey{}).(*hostWaiter)
	if !ok {
		return func() {}
	}
	set := func(to bool) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.muted = to
	}
	set(true)
	return func() { set(false) }
}

func (w *hostWaiter) asked(host string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.host = host
	if w.timer != nil {
		w.timer.Stop()
	}
	w.timer = time.AfterFunc(firstWait, w.tell)
}

func (w *hostWaiter) answered() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil {
		w.timer.Stop()
	}
}

// tell names a host once.
func (w *hostWaiter) tell() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.muted && !w.told[w.host] {
		w.told[w.host] = true
		fmt.Fprintf(w.to, "waiting for %s to answer\n", w.host)
	}
}

// A course is one run of a command.
type course struct {
	ended   chan struct{}
	service bool
}

type courseKey struct{}

// watch has a command tell what it waits for, and end soon after it was interrupted.
func watch(c *cobra.Command, _ []string) {
	r, ok := c.Context().Value(courseKey{}).(*course)
	if !ok {
		return
	}
	if r.service = isService(c); r.service {
		return
	}
	ctx := withWaiter(c.Context(), c.ErrOrStderr())
	c.SetContext(ctx)
	context.AfterFunc(ctx, func() {
		select {
		case <-r.ended:
		case <-time.After(lastWork):
			fmt.Fprintln(os.Stderr, "poclog: interrupted")
			os.Exit(exitUndecided)
		}
	})
}

// interrupted is the error of a command that was interrupted: it decided nothing.
func (r *course) interrupted(ctx context.Context, err error) error {
	var e *exitError
	switch {
	case ctx.Err() == nil || err == nil || r.service || errors.As(err, &e) && e.told:
		return err
	case errors.Is(err, errInterrupted), errors.Is(err, context.Canceled), errors.Is(err, context.Cause(ctx)):
		return undecided(errInterrupted)
	}
	return undecided(fmt.Errorf("%w; %w", errInterrupted, err))
}
