package audit

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/internal/indexmap"
	"github.com/poclog/poclog/internal/sqlite"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/witness"
)

// CheckIndex is the check of index entries (docs/format.md §16): each has the root that the entries
// before it give.
const CheckIndex verify.Check = "audit.index"

// dirIndex holds a map for each log. It is derived: one that is lost or damaged is made anew from
// the log's entries.
const dirIndex = "index"

// index returns the map of a log, opened when it is first needed. One audit of a log runs at a
// time, so that nobody else uses it.
func (a *Auditor) index(origin string) (*indexmap.Map, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if m := a.indexes[origin]; m != nil {
		return m, nil
	}
	path := filepath.Join(a.dir, dirIndex, witness.HashOf(origin)+".db")
	m, err := sqlite.Anew(func() (*indexmap.Map, error) { return indexmap.Open(path, nil) }, func() error { return sqlite.Remove(path) }, func(err error) {
		a.cfg.Logger.Warn("the index is damaged: it is made anew from the log's entries", "origin", origin, "file", path, "error", err)
	})
	if err != nil {
		return nil, err
	}
	a.indexes[origin] = m
	return m, nil
}

// catchUp makes the map of a log know all entries that were audited before: it knows less where it
// was lost.
func (a *Auditor) catchUp(ctx context.Context, cl *client.Client, r *record) error {
	m, err := a.index(r.origin)
	if err != nil {
		return err
	}
	from := m.State().Next
	if from >= r.audited {
		return nil
	}
	batch := make([][]byte, 0, batchSize)
	for leaf, err := range cl.Entries(ctx, r.target.Tree, client.Range{From: from, To: r.audited}) {
		if err != nil {
			return fmt.Errorf("read entries from %d on, for the index: %w", from, err)
		}
		if batch = append(batch, leaf.Entry); len(batch) < batchSize && leaf.Index+1 < r.audited {
			continue
		}
		if err := m.Follow(ctx, from, batch); err != nil {
			return err
		}
		from, batch = leaf.Index+1, batch[:0]
	}
	return ctx.Err()
}

// follow takes a batch of entries into the map. It returns the index entry that is wrong, if one
// is. What an audit that was cut off took already is left out.
func (a *Auditor) follow(ctx context.Context, origin string, leaves []client.Leaf) (*indexmap.WrongError, error) {
	m, err := a.index(origin)
	if err != nil {
		return nil, err
	}
	next := m.State().Next
	var entries [][]byte
	for _, l := range leaves {
		if l.Index >= next {
			entries = append(entries, l.Entry)
		}
	}
	if len(entries) == 0 {
		return nil, nil
	}
	var wrong *indexmap.WrongError
	if err = m.Follow(ctx, next, entries); errors.As(err, &wrong) {
		return wrong, nil
	}
	return nil, err
}
