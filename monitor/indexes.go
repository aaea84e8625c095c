package monitor

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/internal/durable"
	"github.com/poclog/poclog/internal/indexmap"
	"github.com/poclog/poclog/internal/sqlite"
	"github.com/poclog/poclog/internal/wrongindex"
	"github.com/poclog/poclog/verify/rule"
)

// Of a log's index.
const (
	indexBatch = 4096             // entries in one transaction
	showAgain  = 10 * time.Minute // after which the log is asked again what its wrong index says
)

// Indexes hold the index entries of a log to its entries (docs/format.md §16). The map that they
// should be of is derived, and durable with how far it is: it stops at the newest index entry, so
// that a log without any costs nothing. Entries are read once more, by the leaf hashes that are
// kept: a log cannot show others than those that were recorded.
type indexes struct {
	newest uint64        // number of the newest index entry; 0: there is none
	m      *indexmap.Map // nil before it is needed
	wrong  *indexmap.WrongError
	shown  bool      // the file that shows what is wrong is kept
	due    time.Time // when it is tried again
}

func (x *indexes) close() error {
	if x.m == nil {
		return nil
	}
	return x.m.Close()
}

// noteIndex notes a record of an index entry.
func (t *tail) noteIndex(row *row, index uint64) {
	if row.kind() == KindIndex {
		t.indexes.newest = index
	}
}

// checkIndexes follows the index entries that are recorded, until net ends. Trouble is the log's,
// an error the folder's.
func (t *tail) checkIndexes(ctx, net context.Context) (trouble, err error) {
	x := &t.indexes
	if x.newest == 0 || x.newest >= t.l.next {
		return nil, nil
	}
	if x.wrong == nil {
		if err := t.openIndex(); err != nil {
			return nil, err
		}
		if trouble, err := t.followIndex(ctx, net); trouble != nil || err != nil {
			return trouble, err
		}
	}
	if x.wrong != nil {
		return nil, t.wrongIndex(ctx, net)
	}
	return nil, t.staleIndex(ctx)
}

// openIndex opens the map. One that is damaged, or ahead of the records, is made anew.
func (t *tail) openIndex() error {
	if t.indexes.m != nil {
		return nil
	}
	dir := filepath.Join(t.r.m.dir, indexesDir)
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	path := filepath.Join(dir, strconv.Itoa(t.l.number)+".db")
	m, err := indexmap.Open(path, nil)
	if err == nil && m.State().Next > t.l.next {
		err = errors.Join(errAhead, m.Close())
	}
	if sqlite.IsDamaged(err) || errors.Is(err, errAhead) {
		t.r.m.cfg.Logger.Warn("the index is made anew from the log's entries", "origin", t.l.origin, "file", path, "error", err)
		if err := sqlite.Remove(path); err != nil {
			return err
		}
		m, err = indexmap.Open(path, nil)
	}
	if err != nil {
		return err
	}
	t.indexes.m = m
	return nil
}

var errAhead = errors.New("it is ahead of the records")

// followIndex takes entries into the map, up to the newest index entry. What was taken is durable.
func (t *tail) followIndex(ctx, net context.Context) (trouble, err error) {
	x := &t.indexes
	from, to := x.m.State().Next, x.newest+1
	if from >= to {
		return nil, nil
	}
	tree := t.l.checkpoint.Tree
	batch := make([][]byte, 0, min(indexBatch, to-from))
	for leaf, trouble := range t.cl.Entries(net, tree, client.Range{From: from, To: to}) {
		if trouble != nil {
			if net.Err() != nil {
				return nil, nil // it goes on in the next round
			}
			return trouble, nil
		}
		if batch = append(batch, leaf.Entry); len(batch) < indexBatch && leaf.Index+1 < to {
			continue
		}
		if err := x.m.Follow(ctx, leaf.Index+1-uint64(len(batch)), batch); errors.As(err, &x.wrong) {
			return nil, nil
		} else if err != nil {
			return nil, err
		}
		batch = batch[:0]
	}
	return nil, nil
}

// wrongIndex raises the alert about a wrong index entry, with the file that shows it as soon as the
// log says what its index has. A log that is wrong once is not followed further: there is nothing
// to hold later index entries to.
func (t *tail) wrongIndex(ctx, net context.Context) error {
	x, now := &t.indexes, t.r.m.cfg.Clock()
	if x.shown || now.Before(x.due) {
		return nil
	}
	x.due = now.Add(showAgain)
	a := t.alert(rule.Alert)
	a.Rule, a.Entries = RuleWrong, []EntryRef{{Origin: t.l.origin, Index: x.wrong.Entry}}
	a.Seen = fmt.Sprintf("%s has a wrong index entry %d: %s.", t.l.origin, x.wrong.Entry, x.wrong.What)
	a.Meaning = "Dossiers of this log are not complete: its operator hides entries or lists wrong ones, or its software is at fault."
	a.ID = AlertID(a.Rule, a.Subject, a.Entries)
	alerts := []Alert{*a}
	if x.wrong.Right != (poclog.Digest{}) {
		file, found, err := wrongindex.Show(net, t.cl, x.m)
		if err != nil {
			t.r.m.cfg.Logger.Warn("what the wrong index says is not found out: it is tried again", "origin", t.l.origin, "error", err)
		}
		if found != nil {
			b := *a
			b.Severity, b.Subject = rule.Contradiction, a.Subject
			b.Entries = append(b.Entries[:1:1], EntryRef{Origin: t.l.origin, Index: found.Entry})
			b.Seen = fmt.Sprintf("%s has a wrong index entry %d: %s.", t.l.origin, found.Number, wrongindex.Say(found))
			b.ID = AlertID(b.Rule, b.Subject, b.Entries)
			if err := t.r.m.keep(ctx, &b, contradictionsDir, wrongindex.Suffix, file); err != nil {
				return err
			}
			alerts, x.shown = append(alerts, b), true
		}
	}
	return t.raise(ctx, alerts)
}

// staleIndex raises an alert if the newest index entry is old, or does not cover what is old.
func (t *tail) staleIndex(ctx context.Context) error {
	at := t.indexes.m.State()
	if at.Entry != t.indexes.newest || t.busy || t.l.next < t.l.checkpoint.Size {
		return nil // there is more to read
	}
	uncovered, since, err := t.uncovered(ctx, at.Size)
	if err != nil {
		return err
	}
	newest, err := t.rows.one(at.Entry)
	if err != nil {
		return err
	}
	a := t.alert(rule.Alert)
	a.Rule, a.Entries = RuleStale, []EntryRef{{Origin: t.l.origin, Index: at.Entry}}
	switch limit := t.r.m.cfg.Stale; {
	case uncovered && t.l.looked.Sub(since) > limit:
		a.Seen = fmt.Sprintf("The newest index of %s, entry %d, is of the entries below %d. There are others since %s.", t.l.origin, at.Entry, at.Size, since.UTC().Format(time.RFC3339))
	case t.l.looked.Sub(newest.seen()) > limit:
		a.Seen = fmt.Sprintf("%s wrote no index entry since entry %d, of %s.", t.l.origin, at.Entry, newest.seen().UTC().Format(time.RFC3339))
	default:
		return nil
	}
	a.Meaning = "Dossiers of this log do not say what came since: its operator holds the index back, or its software is at fault."
	a.ID = AlertID(a.Rule, a.Subject, a.Entries)
	return t.raise(ctx, []Alert{*a})
}

// uncovered finds the first entry from a number on that an index is to cover, and says since when
// it is there. Index entries are not indexed.
func (t *tail) uncovered(ctx context.Context, from uint64) (found bool, since time.Time, err error) {
	err = t.rows.each(ctx, from, t.l.next, func(_ uint64, row *row) bool {
		if found = row.kind() != KindIndex; found {
			since = row.seen()
		}
		return !found
	})
	return found, since, err
}

// raise keeps alerts about the log.
func (t *tail) raise(ctx context.Context, alerts []Alert) error {
	return t.r.m.state.tx(ctx, fmt.Sprintf("keep alerts of log %q", t.l.origin), func(tx *sql.Tx) error {
		return t.r.addAlerts(ctx, tx, alerts)
	})
}
