package collateral

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/durable"
	"github.com/poclog/poclog/verify"
)

// accept verifies an item and keeps it where it is newer than what is kept. The mark of what was
// seen is durable before anything is judged by it. What is older than anything seen before is
// errOlder; but nothing is wrong with an older issue of the same number while a newer one is kept:
// the issuer's servers need not agree to the second.
func (c *Cache) accept(k Key, it *poclog.CollateralItem) (*Facts, error) {
	src := c.source(k)
	if src == nil {
		return nil, fmt.Errorf("%s: no source has it", k)
	}
	now := c.cfg.Now()
	f, err := src.Open(k, it, now)
	if err != nil {
		return nil, err
	}
	if !f.Has(now) {
		return nil, fmt.Errorf("%s: valid from %s to %s, not now", k, verify.Stamp(f.Issued), verify.Stamp(f.Until))
	}
	if kept, err := c.kept(k, f, now); kept != nil || err != nil {
		return kept, err
	}
	// The lock comes before mu: while another process keeps it, judges go on by what they have.
	unlock, err := durable.Lock(filepath.Join(c.dir, fileLock), lockPatience)
	if err != nil {
		return nil, fmt.Errorf("keep %s: %w", k, err)
	}
	f, err = c.keep(k, it, f, now)
	return f, errors.Join(err, unlock())
}

// lockPatience bounds the wait for another process that writes what was seen.
const lockPatience = 10 * time.Second

// kept returns what is kept in the place of an item: it is as new, or newer. Nothing is kept of
// what is older than anything seen before.
func (c *Cache) kept(k Key, f *Facts, now time.Time) (*Facts, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.keptLocked(k, f, now)
}

func (c *Cache) keptLocked(k Key, f *Facts, now time.Time) (*Facts, error) {
	s := c.slots[k]
	if c.isOld(k, f) {
		if s != nil && s.valid(now) && s.facts.mark().number.Cmp(f.mark().number) == 0 {
			return s.facts, nil
		}
		return nil, fmt.Errorf("%s: number %s, issued %s: %w: number %s, issued %s", k, f.mark().number, verify.Stamp(f.Issued), errOlder,
			c.seen[k].number, c.seen[k].issued.Format(time.RFC3339))
	}
	if s != nil && s.valid(now) && !s.facts.mark().before(f.mark()) {
		return s.facts, nil
	}
	return nil, nil
}

// keep keeps an item, unless a newer one came meanwhile. The caller holds the lock of the folder.
func (c *Cache) keep(k Key, it *poclog.CollateralItem, f *Facts, now time.Time) (*Facts, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if kept, err := c.keptLocked(k, f, now); kept != nil || err != nil {
		return kept, err
	}
	s := c.slot(k, now)
	if err := c.remember(k, f.mark()); err != nil {
		return nil, err
	}
	if err := writeItem(c.dir, k, it); err != nil {
		// What was seen is durable: the older item may not judge any more, so that this one must,
		// for as long as the process lives.
		c.cfg.Logger.Warn("collateral is not kept on disk", "key", k.String(), "error", err)
	}
	*s = slot{item: it, facts: f, next: now.Add(c.spread(c.life(f, now)))}
	c.wake()
	return f, nil
}

// remember makes a mark durable, with those that other processes saw. The caller holds the lock of
// the folder, and mu.
func (c *Cache) remember(k Key, m mark) error {
	if old, ok := c.seen[k]; ok && !old.before(m) {
		return nil
	}
	all, err := readSeen(c.dir)
	if err != nil {
		return fmt.Errorf("keep %s: %w", k, err)
	}
	for key, old := range c.seen {
		if there, ok := all[key]; !ok || there.before(old) {
			all[key] = old
		}
	}
	if there, ok := all[k]; ok && m.before(there) {
		c.seen = all
		return fmt.Errorf("%s: %w, by another process", k, errOlder)
	}
	if err := m.check(); err != nil {
		return fmt.Errorf("keep %s: %w", k, err)
	}
	all[k] = m
	b, err := marshalSeen(all)
	if err == nil {
		err = durable.Replace(filepath.Join(c.dir, fileSeen), b, 0o644)
	}
	if err != nil {
		return fmt.Errorf("keep %s: %w", k, err)
	}
	c.seen = all
	return nil
}
