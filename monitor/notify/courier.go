// Package notify tells people and machines what a monitor found: JSON lines, a webhook, a watch
// list of identities whose owner wants to know every claim about them, and a silence list of
// findings that nobody wants to hear of again.
//
// The monitor's folder is the outbox: an alert is kept before anybody is told, and is marked as
// taken after the sink has answered. A process that is killed between the two tells it again, with
// the same id: at least once, and idempotent. A sink that fails is asked again with growing waits,
// and no alert is ever given up. One that the sink does not take holds up no other, whatever the
// sink answers; contradictions are told first.
//
// Webhooks follow "Standard Webhooks" 1.0.0 (https://www.standardwebhooks.com), symmetric
// signatures. Addresses and secrets are in no message: who has the address of a webhook can often
// post to it.
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
	"slices"
	"time"

	"github.com/poclog/poclog/internal/pause"
	"github.com/poclog/poclog/monitor"
)

// A Sink takes alerts.
type Sink interface {
	// Name tells sinks apart: what one has taken it is not given again.
	Name() string
	// Silenced says whether the sink wants silenced alerts too: they are marked.
	Silenced() bool
	// Deliver hands on one alert, and returns once it is taken. An error that concerns this alert
	// alone is a [*RefusedError]; after any other the sink is given nothing for a while.
	Deliver(ctx context.Context, a *monitor.Alert) error
}

// An Outbox keeps alerts, and which sink has taken which: a [monitor.Monitor].
type Outbox interface {
	Alerts(ctx context.Context, f monitor.AlertFilter) iter.Seq2[*monitor.Alert, error]
	Taken(ctx context.Context, sink, id string) error
}

// A RefusedError says that a sink does not take one alert, though it may take others.
type RefusedError struct {
	Err     error
	Perhaps bool // it may be that the sink takes no alert now
}

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
	maxDoubt    = time.Minute // until another alert is tried, where one was refused and perhaps all are
)

// A Config says how a courier goes about it. The zero value is safe.
type Config struct {
	Poll   time.Duration // between two looks at the outbox; 0 is DefaultPoll
	Logger *slog.Logger  // nil is slog.DiscardHandler

	Clock func() time.Time                                 // nil is time.Now
	Rand  func() float64                                   // in [0, 1), spreads the waits; nil is math/rand's
	Wait  func(ctx context.Context, d time.Duration) error // nil waits by the clock
}

// A Courier brings alerts from an outbox to one sink: contradictions first, and otherwise in the
// order in which they came.
type Courier struct {
	outbox Outbox
	sink   Sink
	cfg    Config

	sinkTries tries             // of the sink as a whole
	refused   map[string]*tries // by alert
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
		cfg.Wait = pause.For
	}
	return &Courier{outbox: outbox, sink: sink, cfg: cfg, refused: make(map[string]*tries)}
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

// Flush delivers all that is there, trying again what fails, until the context ends. It returns how
// many alerts were not taken, and why.
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
	now := c.cfg.Clock()
	if next := c.sinkTries.next; now.Before(next) {
		return next.Sub(now)
	}
	var next time.Time
	for _, t := range c.refused {
		if next.IsZero() || t.next.Before(next) {
			next = t.next
		}
	}
	if next.IsZero() {
		return 0
	}
	return next.Sub(now)
}

// maxQueued is how many alerts of a class are read at once.
const maxQueued = 64

// Classes of alerts, the first first. What was refused before waits for what was not: one alert
// that is never taken keeps no other.
const (
	newContradiction = iota
	newOther
	refusedContradiction
	refusedOther
	classes
)

func (c *Courier) class(a *monitor.Alert) int {
	n := newContradiction
	if c.refused[a.ID] != nil {
		n = refusedContradiction
	}
	if a.Severity != "contradiction" {
		n++
	}
	return n
}

// round offers alerts that are due, once. It returns how many are left, and the last error.
func (c *Courier) round(ctx context.Context) (left int, last error) {
	queue, left, err := c.queue(ctx)
	if err != nil {
		return left, c.failed(&c.sinkTries, "", maxBackoff, err)
	}
	for _, a := range queue {
		if c.cfg.Clock().Before(c.sinkTries.next) {
			break
		}
		if err := c.deliver(ctx, a); err != nil {
			last = err
			continue
		}
		left--
	}
	return left, last
}

// queue reads what is due, by class, and counts all that is left. What is no longer left is
// forgotten.
func (c *Courier) queue(ctx context.Context) (due []*monitor.Alert, left int, err error) {
	var lists [classes][]*monitor.Alert
	refused := make(map[string]*tries)
	for a, err := range c.outbox.Alerts(ctx, monitor.AlertFilter{Untaken: c.sink.Name(), Unsilenced: !c.sink.Silenced()}) {
		if err != nil {
			return nil, left, err
		}
		left++
		t := c.tries(a.ID)
		if t.failures > 0 {
			refused[a.ID] = t
		}
		if list := &lists[c.class(a)]; len(*list) < maxQueued && !c.cfg.Clock().Before(t.next) {
			*list = append(*list, a)
		}
	}
	c.refused = refused
	return slices.Concat(lists[:]...), left, nil
}

// deliver offers one alert. Where the sink does not say whether it takes others, another is tried
// after a short while.
func (c *Courier) deliver(ctx context.Context, a *monitor.Alert) error {
	err := c.sink.Deliver(ctx, a)
	var alone *RefusedError
	switch {
	case errors.As(err, &alone):
		t := c.tries(a.ID)
		c.refused[a.ID] = t
		if alone.Perhaps {
			c.rest(&c.sinkTries, maxDoubt, err)
		}
		return c.failed(t, a.ID, maxBackoff, err)
	case err != nil:
		return c.failed(&c.sinkTries, "", maxBackoff, err)
	}
	c.sinkTries = tries{}
	delete(c.refused, a.ID)
	if err := c.outbox.Taken(ctx, c.sink.Name(), a.ID); err != nil {
		return c.failed(&c.sinkTries, "", maxBackoff, err)
	}
	return nil
}

// tries returns those of an alert.
func (c *Courier) tries(id string) *tries {
	if t := c.refused[id]; t != nil {
		return t
	}
	return new(tries)
}

// rest notes a failure and when to try again.
func (c *Courier) rest(t *tries, longest time.Duration, err error) {
	t.failures++
	t.next = c.cfg.Clock().Add(c.backoff(t.failures, longest, err))
}

// failed notes a failure of one alert or, without its id, of the sink, and says so.
func (c *Courier) failed(t *tries, id string, longest time.Duration, err error) error {
	c.rest(t, longest, err)
	c.cfg.Logger.Warn("alerts are not taken", "sink", c.sink.Name(), "alert", id, "failures", t.failures, "again", t.next.UTC().Format(time.RFC3339), "error", err)
	return err
}

// backoff doubles from 5 seconds to the longest pause, between half of it and the whole by chance,
// and is not less than the sink asks for.
func (c *Courier) backoff(failures int, longest time.Duration, err error) time.Duration {
	d := minBackoff
	for i := 1; i < failures && d < longest; i++ {
		d *= 2
	}
	d = min(d, longest)
	d = d/2 + time.Duration(c.cfg.Rand()*float64(d/2))
	var w *waitError
	if errors.As(err, &w) {
		d = max(d, min(w.after, maxBackoff))
	}
	return d
}
