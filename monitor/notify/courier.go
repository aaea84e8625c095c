// Package notify tells people and machines what a monitor found: JSON lines, a webhook, a watch list of identities whose owner wants to know every
// claim about them, and a silence list of findings that nobody wants to hear of again.
//
// The monitor's folder is the outbox: an alert is kept before anybody is told, and is marked as taken after the sink has answered. A process that is
// killed between the two tells it again, with the same id: at least once, and idempotent. A sink that fails is asked again with growing waits, and
// no alert is ever given up.
//
// Webhooks follow "Standard Webhooks" 1.0.0 (https://www.standardwebhooks.com), symmetric signatures. Addresses and secrets are in no message: who has
// the address of a webhook can often post to it.
//
// TestDeliveryOutlivesAFailingServer and TestKilledCourierTellsAgain are the evidence.
package notify

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/poclog/poclog/monitor"
)

// A Sink takes alerts.
type Sink interface {
	// Name tells sinks apart: what one has taken it is not given again.
	Name() string
	// Silenced says whether the sink wants silenced alerts too: they are marked.
	Silenced() bool
	// Deliver hands on one alert, and returns once it is taken. An error that concerns this alert alone is a [*RefusedError]; after any other the sink is
	// given nothing for a while.
	Deliver(ctx context.Context, a *monitor.Alert) error
}

// An Outbox keeps alerts, and which sink has taken which: a [monitor.Monitor].
type Outbox interface {
	Alerts(ctx context.Context, f monitor.AlertFilter) iter.Seq2[*monitor.Alert, error]
	Taken(ctx context.Context, sink, id string) error
}

// A RefusedError says that a sink does not take one alert, though it may take others.
type RefusedError struct{ Err error }

func (e *RefusedError) Error() string { return e.Err.Error() }
func (e *RefusedError) Unwrap() error { return e.Err }

// A waitError is an error whose sink says when to try again.
type waitError struct {
	err   error
	after time.Duration
}

func (e *waitError) Error() string { return e.err.Error() }
func (e *waitError) Unwrap() error { return e.err }

// Defaults and bounds of the waits.
const (
	DefaultPoll = time.Second
	minBackoff  = 5 * time.Second
	maxBackoff  = time.Hour
)

// A Config says how a courier goes about it. The zero value is safe.
type Config struct {
	Poll   time.Duration // between two looks at the outbox; 0 is DefaultPoll
	Logger *slog.Logger  // nil is slog.DiscardHandler

	Clock func() time.Time                                 // nil is time.Now
	Rand  func() float64                                   // in [0, 1), spreads the waits; nil is math/rand's
	Wait  func(ctx context.Context, d time.Duration) error // nil waits by the clock
}

// A Courier brings alerts from an outbox to one sink, in the order in which they came.
type Courier struct {
	outbox Outbox
	sink   Sink
	cfg    Config

	sinkTries tries            // of the sink as a whole
	refused   map[string]tries // by alert
}

// tries is how often something failed in a row, and when it is tried again.
type tries struct {
	failures int
	next     time.Time
}

// NewCourier returns one for a sink.
func NewCourier(outbox Outbox, sink Sink, cfg Config) *Courier {
	if cfg.Poll <= 0 {
		cfg.Poll = DefaultPoll
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Float64
	}
	if cfg.Wait == nil {
		cfg.Wait = wait
	}
	return &Courier{outbox: outbox, sink: sink, cfg: cfg, refused: make(map[string]tries)}
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// Run delivers until the context ends. An outbox that cannot be read is tried again as a sink is.
func (c *Courier) Run(ctx context.Context) {
	for ctx.Err() == nil {
		_, _ = c.round(ctx) // said in the log; the next round tries again
		if c.cfg.Wait(ctx, c.cfg.Poll) != nil {
			return
		}
	}
}

// Flush delivers all that is there, trying again what fails, until the context ends. It returns how many alerts were not taken, and why.
func (c *Courier) Flush(ctx context.Context) (left int, err error) {
	for last := error(nil); ; {
		left, err = c.round(ctx)
		if left == 0 && err == nil {
			return 0, nil
		}
		if err != nil && ctx.Err() == nil {
			last = err
		}
		if werr := c.cfg.Wait(ctx, max(c.cfg.Poll, c.due())); werr != nil {
			if last == nil {
				last = werr
			}
			return left, fmt.Errorf("%d alerts are still to be told to %s: %w", left, c.sink.Name(), last)
		}
	}
}

// due is how long until something that failed is to be tried again.
func (c *Courier) due() time.Duration {
	next := c.sinkTries.next
	for _, t := range c.refused {
		if next.IsZero() || t.next.Before(next) {
			next = t.next
		}
	}
	if next.IsZero() {
		return 0
	}
	return next.Sub(c.cfg.Clock())
}

// round offers every alert that is due, once. It returns how many are left, and the last error.
func (c *Courier) round(ctx context.Context) (left int, last error) {
	resting := c.cfg.Clock().Before(c.sinkTries.next)
	f := monitor.AlertFilter{Untaken: c.sink.Name(), Unsilenced: !c.sink.Silenced()}
	for a, err := range c.outbox.Alerts(ctx, f) {
		if err != nil {
			return left, c.failed("", err)
		}
		if resting || c.cfg.Clock().Before(c.refused[a.ID].next) {
			left++
			continue
		}
		if err := c.deliver(ctx, a); err != nil {
			left, last = left+1, err
			var alone *RefusedError
			resting = !errors.As(err, &alone)
		}
	}
	return left, last
}

func (c *Courier) deliver(ctx context.Context, a *monitor.Alert) error {
	err := c.sink.Deliver(ctx, a)
	var alone *RefusedError
	switch {
	case errors.As(err, &alone):
		return c.failed(a.ID, err)
	case err != nil:
		return c.failed("", err)
	}
	c.sinkTries = tries{}
	delete(c.refused, a.ID)
	if err := c.outbox.Taken(ctx, c.sink.Name(), a.ID); err != nil {
		return c.failed("", err)
	}
	return nil
}

// failed notes a failure of one alert or, without its id, of the sink, and says so.
func (c *Courier) failed(id string, err error) error {
	t := c.sinkTries
	if id != "" {
		t = c.refused[id]
	}
	t.failures++
	pause := c.backoff(t.failures, err)
	t.next = c.cfg.Clock().Add(pause)
	if id != "" {
		c.refused[id] = t
	} else {
		c.sinkTries = t
	}
	c.cfg.Logger.Warn("alerts are not taken", "sink", c.sink.Name(), "alert", id, "failures", t.failures, "again", t.next.UTC().Format(time.RFC3339), "error", err)
	return err
}

// backoff doubles from 5 seconds to an hour, between half of it and the whole by chance, and is not less than the sink asks for.
func (c *Courier) backoff(failures int, err error) time.Duration {
	d := minBackoff
	for i := 1; i < failures && d < maxBackoff; i++ {
		d *= 2
	}
	d = min(d, maxBackoff)
	d = d/2 + time.Duration(c.cfg.Rand()*float64(d/2))
	var w *waitError
	if errors.As(err, &w) {
		d = max(d, min(w.after, maxBackoff))
	}
	return d
}
