package log

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/pause"
	"github.com/poclog/poclog/internal/sqlite"
	"github.com/poclog/poclog/log/store"
)

// run writes what is new, until the context ends. A database that is found damaged is made anew,
// and nothing is admitted meanwhile.
func (d *duplicatesDB) run(ctx context.Context) {
	for {
		if pause.For(ctx, duplicatesPause) != nil {
			return
		}
		if err := d.turn(ctx); ctx.Err() == nil {
			d.failed(err)
		}
	}
}

func (d *duplicatesDB) turn(ctx context.Context) error {
	d.mu.RLock()
	ready := d.ready
	d.mu.RUnlock()
	if !ready {
		return d.open(ctx)
	}
	d.writing.Lock()
	defer d.writing.Unlock()
	err := d.follow(ctx)
	d.doubt(err)
	return err
}

// doubt has a database that an error says is damaged made anew.
func (d *duplicatesDB) doubt(err error) {
	if !sqlite.IsDamaged(err) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ready, d.damaged, d.reading = false, err, "are being read again"
}

func (d *duplicatesDB) failed(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil && (d.err == nil || d.err.Error() != err.Error()) {
		d.logger.Error("the list of known evidence cannot be written: it is tried again", "error", err)
	}
	d.err = err
}

func (d *duplicatesDB) warnings() []string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	switch {
	case d.err != nil:
		return []string{"the list of known evidence cannot be written: " + d.err.Error()}
	case !d.ready:
		return []string{"the log's entries " + d.reading}
	}
	return nil
}

// A batch is what entries that follow one another say.
type batch struct {
	next   uint64           // after them
	keys   []store.KnownRow // ascending by key, then by number
	last   []byte           // leaf hash of the last of them
	config []byte           // leaf of the newest config entry among them; nil: none is
}

// follow writes what the entries say that the database does not have, and forgets what was in
// memory of them. The caller holds writing, and the database is open.
func (d *duplicatesDB) follow(ctx context.Context) error {
	noted := time.Now()
	for {
		size, err := d.size(ctx)
		if err != nil || d.next >= size {
			return err
		}
		b, err := d.batch(ctx, d.next, min(size-d.next, duplicatesBatch))
		if err != nil {
			return err
		}
		if err := d.write(ctx, d.next, b); err != nil {
			return fmt.Errorf("write the list of known evidence: %w", err)
		}
		d.written(b.next, size)
		if time.Since(noted) > scanNote {
			noted = time.Now()
			d.logger.Info("reading entries", "done", b.next, "of", size)
		}
	}
}

// batch reads n entries, or fewer.
func (d *duplicatesDB) batch(ctx context.Context, from, n uint64) (*batch, error) {
	b := &batch{next: from}
	for end := from + n; b.next < end; {
		leaves, err := d.entries(ctx, b.next, min(end-b.next, duplicatesRead))
		if err != nil {
			return nil, err
		}
		for _, leaf := range leaves {
			l, err := poclog.ParseLeaf(leaf)
			if err != nil {
				return nil, fmt.Errorf("entry %d: %w", b.next, err)
			}
			if l.Config != nil {
				b.config = leaf
			}
			if l.Proof != nil {
				b.keys = append(b.keys, rowsOf(l.Proof, b.next)...)
			}
			b.next++
		}
		b.last = leafHash(leaves[len(leaves)-1])
	}
	slices.SortStableFunc(b.keys, func(x, y store.KnownRow) int { return bytes.Compare(x.Key[:], y.Key[:]) })
	return b, nil
}

// write keeps a batch, all or nothing. Its statement decides as [store.KnownEntry.Or] does.
func (d *duplicatesDB) write(ctx context.Context, from uint64, b *batch) error {
	return d.db.Tx(ctx, func(tx *sql.Tx) error {
		put, err := tx.Prepare(`INSERT INTO known VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET number = excluded.number, proved = excluded.proved
			WHERE excluded.proved <> proved AND excluded.proved & proved = proved`)
		if err != nil {
			return err
		}
		defer put.Close()
		for _, r := range b.keys {
			if _, err := put.Exec(r.Key[:], int64(r.Number), int64(r.Proved)); err != nil {
				return err
			}
		}
		return sqlite.OneRow(tx.Exec(`UPDATE state SET next = ?, last = ?, config = ifnull(?, config) WHERE next = ?`, int64(b.next), b.last, b.config, int64(from)))
	})
}

// written notes that the entries below a number are in the database.
func (d *duplicatesDB) written(next, size uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.next, d.reading = next, fmt.Sprintf("are being read: %d of %d", next, size)
	for key, k := range d.since {
		if k.Number < next {
			delete(d.since, key)
		}
	}
	if d.lastAt < next {
		d.last = nil
	}
}

// settle notes a leaf until it is in the database.
func (d *duplicatesDB) settle(number uint64, leaf poclog.Leaf) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if leaf.Proof != nil {
		d.claims--
	}
	if number < d.next {
		return
	}
	if leaf.Config != nil {
		d.last, d.lastAt = leaf.Config, number
	}
	if e := leaf.Proof; e != nil {
		for _, now := range rowsOf(e, number) {
			if old, ok := d.since[now.Key]; ok {
				now.KnownEntry = old.Or(now.KnownEntry)
			}
			d.since[now.Key] = now.KnownEntry
		}
	}
}

func (d *duplicatesDB) release(*poclog.Entry) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.claims--
}

// claim bounds what is in memory. Within the process, admission has one submission of a key at a
// time.
func (d *duplicatesDB) claim(ctx context.Context, e *poclog.Entry) (number uint64, ok bool, err error) {
	if number, ok, err = d.find(ctx, e); ok || err != nil {
		return number, ok, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.since)+3*d.claims >= maxUnwritten {
		return 0, false, refuse(kindUnavailable, "the list of known evidence is behind the tree: %v", d.err)
	}
	d.claims++
	return 0, false, nil
}

func (d *duplicatesDB) find(ctx context.Context, e *poclog.Entry) (number uint64, ok bool, err error) {
	k, ok, err := d.get(ctx, ownKey(e))
	return k.Number, ok && k.Answers(provedBy(e)), err
}

func (d *duplicatesDB) findBundle(ctx context.Context, digest poclog.Digest) (number uint64, ok bool, err error) {
	k, ok, err := d.get(ctx, keyOfBundle(digest))
	return k.Number, ok, err
}

func (d *duplicatesDB) get(ctx context.Context, key store.Key) (k store.KnownEntry, ok bool, err error) {
	if k, ok, err = d.look(ctx, key); err != nil {
		d.doubt(err)
		return store.KnownEntry{}, false, refuse(kindUnavailable, "look for known evidence: %w", err)
	}
	return k, ok, nil
}

func (d *duplicatesDB) look(ctx context.Context, key store.Key) (k store.KnownEntry, ok bool, err error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if !d.ready {
		return k, false, fmt.Errorf("the log's entries %s", d.reading)
	}
	switch err = d.db.Row(ctx, lookupKnown, key[:]).Scan(&k.Number, &k.Proved); {
	case err == nil:
		ok = true
	case !errors.Is(err, sql.ErrNoRows):
		return k, false, err
	}
	if now, newer := d.since[key]; newer && ok {
		k = k.Or(now)
	} else if newer {
		k, ok = now, true
	}
	return k, ok, nil
}

func (d *duplicatesDB) config(ctx context.Context) (*poclog.Config, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.last != nil {
		return d.last, nil
	}
	if !d.ready {
		return nil, fmt.Errorf("the log's entries %s", d.reading)
	}
	var leaf []byte
	if err := d.db.Read.QueryRowContext(ctx, `SELECT config FROM state`).Scan(&leaf); err != nil || leaf == nil {
		return nil, err
	}
	l, err := poclog.ParseLeaf(leaf)
	return l.Config, err
}
