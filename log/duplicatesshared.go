package log

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/pause"
	"github.com/poclog/poclog/log/store"
)

// Times of shared duplicates.
const (
	claimAgain     = 250 * time.Millisecond // between two tries to claim what another front end has claimed
	settlePatience = 10 * time.Second
)

// sharedDuplicates are what all front ends of a log know, in its store. Whichever comes first reads
// new entries for all. A claim keeps two front ends from appending the same evidence at one time:
// one waits for the other's entry.
type sharedDuplicates struct {
	known   store.Known
	reader  *duplicatesDB // reads entries; it has no database
	logger  *slog.Logger
	timeout time.Duration // of a claim that another front end has

	mu      sync.Mutex // guards what follows
	ready   bool
	reading string
	err     error // of the last try to follow
}

func newSharedDuplicates(s *Service) *sharedDuplicates {
	return &sharedDuplicates{known: s.store.Known, reader: newDuplicates(s), logger: s.cfg.Logger, timeout: s.cfg.PublishTimeout, reading: "are being read"}
}

func (d *sharedDuplicates) open(ctx context.Context) error {
	if err := d.follow(ctx); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ready = true
	return nil
}

// follow adds the entries that nobody followed yet.
func (d *sharedDuplicates) follow(ctx context.Context) error {
	for {
		next, _, err := d.known.Next(ctx)
		if err != nil {
			return err
		}
		size, err := d.reader.size(ctx)
		if err != nil || next >= size {
			return err
		}
		b, err := d.reader.batch(ctx, next, min(size-next, duplicatesRead))
		if err != nil {
			return err
		}
		if err := d.known.Follow(ctx, next, b.next, b.keys, b.config); err != nil && !errors.Is(err, store.ErrChanged) {
			return err
		}
		d.mu.Lock()
		d.reading = fmt.Sprintf("are being read: %d of %d", b.next, size)
		d.mu.Unlock()
	}
}

func (d *sharedDuplicates) run(ctx context.Context) {
	for {
		if pause.For(ctx, duplicatesPause) != nil {
			return
		}
		err := d.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		d.mu.Lock()
		if err != nil && (d.err == nil || d.err.Error() != err.Error()) {
			d.logger.Error("the list of known evidence does not go on: it is tried again", "error", err)
		}
		d.err = err
		d.mu.Unlock()
	}
}

func (d *sharedDuplicates) close() error { return nil }

// usable is the problem that the entries are not all known yet, or nil.
func (d *sharedDuplicates) usable() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ready {
		return nil
	}
	return refuse(kindUnavailable, "the log's entries %s", d.reading)
}

func (d *sharedDuplicates) find(ctx context.Context, e *poclog.Entry) (uint64, bool, error) {
	k, ok, err := d.lookup(ctx, ownKey(e))
	return k.Number, ok && k.Answers(provedBy(e)), err
}

func (d *sharedDuplicates) findBundle(ctx context.Context, digest poclog.Digest) (uint64, bool, error) {
	k, ok, err := d.lookup(ctx, keyOfBundle(digest))
	return k.Number, ok, err
}

func (d *sharedDuplicates) lookup(ctx context.Context, key store.Key) (k store.KnownEntry, ok bool, err error) {
	if err := d.usable(); err != nil {
		return k, false, err
	}
	if k, ok, err = d.known.Find(ctx, key); err != nil {
		err = refuse(kindUnavailable, "%w", err)
	}
	return k, ok, err
}

// claim waits while another front end has the evidence on its way: its entry may be the answer.
// What was settled between a look and the claim shows with the claim.
func (d *sharedDuplicates) claim(ctx context.Context, e *poclog.Entry) (uint64, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	for {
		if number, ok, err := d.find(ctx, e); err != nil || ok {
			return number, ok, err
		}
		k, ok, err := d.known.Claim(ctx, ownKey(e))
		if err == nil {
			if ok = ok && k.Answers(provedBy(e)); ok {
				d.release(e)
			}
			return k.Number, ok, nil
		}
		if !errors.Is(err, store.ErrClaimed) {
			return 0, false, refuse(kindUnavailable, "%w", err)
		}
		if pause.For(ctx, claimAgain) != nil {
			return 0, false, refuse(kindUnavailable, "%w", err)
		}
	}
}

// settle notes an entry, and ends its claim. What fails here is made good by following, and by the
// claim's own end.
func (d *sharedDuplicates) settle(number uint64, leaf poclog.Leaf) {
	e := leaf.Proof
	if e == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), settlePatience)
	defer cancel()
	if err := d.known.Settle(ctx, ownKey(e), rowsOf(e, number)); err != nil {
		d.logger.Warn("an entry is not noted yet as known evidence", "entry", number, "error", err)
	}
}

func (d *sharedDuplicates) release(e *poclog.Entry) {
	ctx, cancel := context.WithTimeout(context.Background(), settlePatience)
	defer cancel()
	if err := d.known.Release(ctx, ownKey(e)); err != nil {
		d.logger.Warn("a claim stays until it expires", "error", err)
	}
}

func (d *sharedDuplicates) config(ctx context.Context) (*poclog.Config, error) {
	_, leaf, err := d.known.Next(ctx)
	if err != nil || leaf == nil {
		return nil, err
	}
	l, err := poclog.ParseLeaf(leaf)
	return l.Config, err
}

func (d *sharedDuplicates) warnings() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.err != nil:
		return []string{"the list of known evidence does not go on: " + d.err.Error()}
	case !d.ready:
		return []string{"the log's entries " + d.reading}
	}
	return nil
}
