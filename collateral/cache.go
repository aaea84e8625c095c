package collateral

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
)

// Defaults and bounds of a [Cache].
const (
	// DefaultRefresh is well under the 30 days for which Intel's answers are valid, so that a
	// revocation is known within hours.
	DefaultRefresh = 6 * time.Hour
	maxKeys        = 2048
	maxAsking      = 4 // keys at once
	fetchTimeout   = 25 * time.Second
)

// A Config says how a cache behaves. The zero value is safe.
type Config struct {
	Refresh   time.Duration // between two questions for what is valid; never over half of what is left of its life. 0 is DefaultRefresh
	Backoff   time.Duration // after a first failure; it doubles, up to an hour. 0 is 30 s
	HTTP      *http.Client  // makes the requests; its redirects and timeout are replaced. Nil is as http.DefaultTransport
	UserAgent string        // "" is "poclog"
	Logger    *slog.Logger  // nil is slog.DiscardHandler
	Patience  Patience      // with issuers that are asked too often. A service needs none: it asks again after Backoff

	Now  func() time.Time // nil is time.Now
	Rand func() float64   // in [0, 1), spreads the waits; nil is math/rand's
}

func (c *Config) setDefaults() error {
	if c.Refresh < 0 || c.Backoff < 0 {
		return fmt.Errorf("collateral: refresh %s, backoff %s: want none negative", c.Refresh, c.Backoff)
	}
	c.Refresh, c.Backoff = cmp.Or(c.Refresh, DefaultRefresh), cmp.Or(c.Backoff, minBackoff)
	c.UserAgent, c.Logger = cmp.Or(c.UserAgent, "poclog"), cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Rand == nil {
		c.Rand = rand.Float64
	}
	return nil
}

// A Cache keeps collateral. Its methods may be called concurrently, and several processes may share
// a folder.
type Cache struct {
	cfg     Config
	dir     string
	sources []Source
	http    *http.Client
	asking  chan struct{} // a token for each key that is being asked for
	group   singleflight.Group
	changed chan struct{} // wakes Run: a key is due earlier than it thinks
	ending  context.Context
	end     context.CancelFunc
	running sync.WaitGroup // of what is being asked

	mu     sync.Mutex // guards what follows, and that nothing begins to run once closed is set
	closed bool
	slots  map[Key]*slot
	seen   map[Key]mark // as on disk, or newer: what is older than these is refused
}

// A slot is a key's state.
type slot struct {
	item  *poclog.CollateralItem // verified; nil where there is none
	facts *Facts
	next  time.Time // before it nobody is asked

	none     bool // the issuer said so; until next
	failures int
	failing  time.Time
	err      error
}

func (s *slot) valid(now time.Time) bool {
	return s.item != nil && s.facts.Has(now)
}

// Open opens the cache in a folder, which it makes if need be, and reads what is still valid in it.
func Open(dir string, cfg Config, sources ...Source) (*Cache, error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	if err := prepare(dir); err != nil {
		return nil, fmt.Errorf("open collateral: %w", err)
	}
	seen, err := readSeen(dir)
	if err != nil {
		return nil, fmt.Errorf("open collateral: %s: %w: without it older collateral could come back; remove it only where that is impossible", dir, err)
	}
	c := &Cache{
		cfg: cfg, dir: dir, sources: sources, http: httpClient(cfg.HTTP), asking: make(chan struct{}, maxAsking), changed: make(chan struct{}, 1),
		slots: make(map[Key]*slot), seen: seen,
	}
	c.ending, c.end = context.WithCancel(context.Background())
	keys, err := itemFiles(dir)
	if err != nil {
		return nil, fmt.Errorf("open collateral: %w", err)
	}
	for _, k := range keys {
		c.load(k)
	}
	return c, nil
}

// load reads an item that an earlier process kept. Whatever is wrong with it, it is as if it were
// not there, and is asked for again.
func (c *Cache) load(k Key) {
	src := c.source(k)
	if src == nil {
		return
	}
	now := c.cfg.Now()
	it, err := readItem(c.dir, k)
	var f *Facts
	if err == nil {
		f, err = src.Open(k, it, now)
	}
	if err == nil && c.isOld(k, f) {
		err = errOlder
	}
	if err != nil {
		c.cfg.Logger.Info("kept collateral is of no use", "key", k.String(), "error", err)
		c.slots[k] = &slot{}
		return
	}
	c.slots[k] = &slot{item: it, facts: f, next: now.Add(c.spread(c.life(f, now) / 2))}
}

func (c *Cache) source(k Key) Source {
	for _, s := range c.sources {
		if s.Has(k) {
			return s
		}
	}
	return nil
}

var errOlder = errors.New("it is older than what was seen before")

func (c *Cache) isOld(k Key, f *Facts) bool {
	m, ok := c.seen[k]
	return ok && f.mark().before(m)
}

// life is how long nobody needs to ask for what is valid.
func (c *Cache) life(f *Facts, now time.Time) time.Duration {
	return max(min(c.cfg.Refresh, f.Until.Sub(now)/2), c.cfg.Backoff)
}

// spread is a time between d/2 and d, by chance: processes that were started together do not ask
// together.
func (c *Cache) spread(d time.Duration) time.Duration {
	return d/2 + time.Duration(c.cfg.Rand()*float64(d/2))
}

// Needs returns what the sources have that judges a bundle.
func (c *Cache) Needs(b *poclog.Bundle) []Need {
	var needs []Need
	for _, s := range c.sources {
		needs = append(needs, s.Needs(b)...)
	}
	return needs
}

// Newest returns the newest valid collateral that is known for a bundle: of each piece what is kept
// or what was offered, whichever is newer. What was offered is verified, and kept where it is
// newer. Items of other kinds pass as they are. It asks nobody; complete says that nothing is
// missing but what the issuers say there is none of.
func (c *Cache) Newest(b *poclog.Bundle, offered *poclog.Collateral) (newest *poclog.Collateral, complete bool) {
	newest, complete = new(poclog.Collateral), true
	taken := make(map[poclog.CollateralKind]bool)
	for _, n := range c.Needs(b) {
		taken[n.Kind] = true
		if offered != nil {
			for _, it := range offered.Items {
				if it.Kind == n.Kind {
					c.offer(n, it)
				}
			}
		}
		it, none := c.known(n.Key)
		if it != nil {
			newest = newest.With(*it)
		} else if !none {
			complete = false
		}
	}
	if offered != nil {
		for _, it := range offered.Items {
			if !taken[it.Kind] {
				newest = newest.With(it)
			}
		}
	}
	return newest, complete
}

// known returns what is kept and valid now, or that the issuer has none.
func (c *Cache) known(k Key) (it *poclog.CollateralItem, none bool) {
	now := c.cfg.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.slots[k]
	if s == nil {
		return nil, false
	}
	if s.valid(now) {
		return s.item, false
	}
	return nil, s.none && now.Before(s.next)
}

// offer takes what somebody brought, if it passes.
func (c *Cache) offer(n Need, it poclog.CollateralItem) {
	if len(it.Chain) == 0 {
		it.Chain = n.Chain
	}
	it.URL = "" // whatever it says, it came otherwise
	if have, _ := c.known(n.Key); have != nil && string(have.Body) == string(it.Body) {
		return
	}
	if _, err := c.accept(n.Key, &it); err != nil {
		c.cfg.Logger.Debug("offered collateral is not kept", "key", n.Key.String(), "error", err)
	}
}

// slot returns the state of a key, which it makes if need be. The caller holds mu.
func (c *Cache) slot(k Key, now time.Time) *slot {
	if c.slots[k] == nil {
		if len(c.slots) >= maxKeys {
			c.forget(now)
		}
		c.slots[k] = new(slot)
	}
	return c.slots[k]
}

// forget drops what is of no use now, or one of the others: memory is bounded. The caller holds mu.
func (c *Cache) forget(now time.Time) {
	for k, s := range c.slots {
		if !s.valid(now) && !now.Before(s.next) {
			delete(c.slots, k)
		}
	}
	for k := range c.slots {
		if len(c.slots) < maxKeys {
			return
		}
		delete(c.slots, k)
	}
}

// wake has Run look at what is due.
func (c *Cache) wake() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// Fetch asks for what is missing to judge a bundle. What is there and valid is not asked for, nor
// what failed a moment ago: the error is an [*UnavailableError]. That the issuer has none is no
// error.
func (c *Cache) Fetch(ctx context.Context, b *poclog.Bundle) error {
	return c.FetchAll(ctx, c.Needs(b))
}

// FetchAll is Fetch for a list. It goes on after an error, and returns the first.
func (c *Cache) FetchAll(ctx context.Context, needs []Need) error {
	errs := make([]error, len(needs))
	var wg sync.WaitGroup
	for i, n := range needs {
		wg.Go(func() { errs[i] = c.ensure(ctx, n.Key) })
	}
	wg.Wait()
	return cmp.Or(errs...)
}

func (c *Cache) ensure(ctx context.Context, k Key) error {
	if settled, err := c.settled(k); settled {
		return err
	}
	err := c.once(ctx, k, func(ctx context.Context) error {
		// A question that another caller asked may have ended since the look above.
		if settled, err := c.settled(k); settled {
			return err
		}
		return c.question(ctx, k)
	})
	if err == nil || errors.Is(err, ErrNone) {
		return nil
	}
	if resting := c.resting(k); resting != nil {
		return resting
	}
	return &UnavailableError{Key: k, After: c.cfg.Backoff, Err: err}
}

// settled says whether nobody needs to be asked for a key now: it is there, there is none, or it
// failed a moment ago, which is the error.
func (c *Cache) settled(k Key) (bool, error) {
	if it, none := c.known(k); it != nil || none {
		return true, nil
	}
	err := c.resting(k)
	return err != nil, err
}

// resting is the error of a key that failed a moment ago.
func (c *Cache) resting(k Key) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, now := c.slots[k], c.cfg.Now()
	if s == nil || s.err == nil || !now.Before(s.next) {
		return nil
	}
	return &UnavailableError{Key: k, After: s.next.Sub(now), Err: s.err}
}

// ask asks the issuer, whatever is kept, once however many want to know.
func (c *Cache) ask(ctx context.Context, k Key) error {
	return c.once(ctx, k, func(ctx context.Context) error { return c.question(ctx, k) })
}

// question asks the issuer and notes what came of it.
func (c *Cache) question(ctx context.Context, k Key) error {
	err := c.fetch(ctx, k)
	c.note(k, err)
	return err
}

// once runs f for all who want a key's answer at a time. Who does not wait any longer does not end
// it for the others.
func (c *Cache) once(ctx context.Context, k Key, f func(context.Context) error) error {
	done := c.group.DoChan(k.String(), func() (any, error) {
		if !c.begin() {
			return nil, errClosed
		}
		defer c.running.Done()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout+c.cfg.Patience.For)
		defer cancel()
		defer context.AfterFunc(c.ending, cancel)()
		select {
		case c.asking <- struct{}{}:
			defer func() { <-c.asking }()
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		return nil, f(ctx)
	})
	select {
	case r := <-done:
		return r.Err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

var errClosed = errors.New("the cache is closed")

// begin notes that something runs until c.running.Done, unless the cache is closed.
func (c *Cache) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.running.Add(1)
	}
	return !c.closed
}

// Close ends what is being asked, and waits until nothing writes to the folder any more. What is
// kept can be read on.
func (c *Cache) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.end()
	c.running.Wait()
}

// fetch asks, and asks again for what was announced early where the answer is older than what was
// seen: its submitter may have had that.
func (c *Cache) fetch(ctx context.Context, k Key) error {
	src := c.source(k)
	if src == nil {
		return fmt.Errorf("%s: no source has it", k)
	}
	var err error
	for _, early := range []bool{false, true} {
		var it *poclog.CollateralItem
		if it, err = src.Fetch(ctx, c.get, Request{Key: k, Early: early}); err != nil {
			return err
		}
		if _, err = c.accept(k, it); !errors.Is(err, errOlder) {
			return err
		}
	}
	return err
}

// note keeps what came of a question.
func (c *Cache) note(k Key, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.cfg.Now()
	s := c.slot(k, now)
	switch {
	case err == nil:
		s.none, s.failures, s.failing, s.err = false, 0, time.Time{}, nil
		if s.item != nil {
			s.next = now.Add(c.spread(c.life(s.facts, now)))
		}
		return
	case errors.Is(err, ErrNone) && !s.valid(now):
		*s = slot{none: true, next: now.Add(min(noneFor, c.cfg.Refresh))}
		return
	}
	if s.failures++; s.failures == 1 {
		s.failing = now
	}
	s.none, s.err = false, err
	s.next = now.Add(c.backoff(s.failures, err))
	c.cfg.Logger.Warn("collateral is unavailable", "key", k.String(), "failures", s.failures, "again", verify.Stamp(s.next), "error", err)
}
