package log

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/sqlite"
	"github.com/poclog/poclog/log/store"
)

// Limits of the duplicates of a folder.
const (
	duplicatesRead  = 1024            // leaves that are read at a time
	duplicatesBatch = 16 * 1024       // entries in one transaction, about 2 MB
	duplicatesPause = 2 * time.Second // between transactions
	maxUnwritten    = 128 * 1024      // keys in memory, about 80 bytes each
	scanNote        = 5 * time.Second // how often a long scan says how far it is
)

// duplicateSchema: known has the keys of the entries below next. Last is the leaf hash of the entry
// before next, and config the newest config entry among them.
var duplicateSchema = sqlite.Schema{`
	CREATE TABLE state (one INTEGER PRIMARY KEY CHECK (one = 1), next INTEGER NOT NULL, last BLOB NOT NULL, config BLOB) STRICT;
	INSERT INTO state VALUES (1, 0, x'', NULL);
	CREATE TABLE known (key BLOB PRIMARY KEY, number INTEGER NOT NULL, proved INTEGER NOT NULL) STRICT, WITHOUT ROWID;
`}

const lookupKnown = `SELECT number, proved FROM known WHERE key = ?`

// duplicatesDB are the duplicates of a log in a folder. A database has what the entries below a
// number say, in one transaction with that number: no entry is missed or counted twice, and one
// that is lost or damaged is made anew from the entries. Entries since then are in memory; after a
// start they are read again. One process serves a folder, so that its claims need no trace on disk.
type duplicatesDB struct {
	path    string
	size    func(context.Context) (uint64, error) // of the tree, published or not
	entries func(ctx context.Context, from, n uint64) ([][]byte, error)
	logger  *slog.Logger

	writing sync.Mutex // held while the database is opened, written or closed

	mu      sync.RWMutex // guards what follows
	db      *sqlite.DB   // nil until it is open; a copy while the folder cannot be written
	ready   bool         // every entry of the tree is known
	reading string       // how far, until then
	next    uint64       // entries below it are in the database
	since   map[store.Key]store.KnownEntry
	claims  int            // that were neither settled nor released
	last    *poclog.Config // the newest config entry in memory
	lastAt  uint64         // its number
	damaged error          // that was seen by who read: it is to be made anew
	err     error          // of the last try to write
}

func newDuplicates(s *Service) *duplicatesDB {
	return &duplicatesDB{
		path: filepath.Join(s.dir, dirState, fileDuplicates), entries: s.entries, logger: s.cfg.Logger, reading: "are being read",
		size:  func(ctx context.Context) (uint64, error) { return s.tree.IntegratedSize(ctx) },
		since: make(map[store.Key]store.KnownEntry),
	}
}

// open opens the database. While the folder cannot be written, a copy of it is read.
func (d *duplicatesDB) open(ctx context.Context) error {
	d.writing.Lock()
	defer d.writing.Unlock()
	damaged, err := d.remove()
	if err != nil {
		return err
	}
	file := sqlite.Derived{Path: d.path, Schema: duplicateSchema, Use: func(db *sqlite.DB) error { return d.use(ctx, db) }, Told: d.tellDamaged}
	var unwritable error
	if d.db == nil || d.db.IsTemporary() {
		unwritable = file.Open()
	}
	if d.db == nil {
		if err := file.OpenCopy(!damaged); err != nil {
			return errors.Join(unwritable, err)
		}
	}
	if err := d.follow(ctx); err != nil {
		return err
	}
	d.mu.Lock()
	d.ready = true
	d.mu.Unlock()
	return unwritable
}

// use takes a database in place of the one that is open, if it is of this tree.
func (d *duplicatesDB) use(ctx context.Context, db *sqlite.DB) error {
	var next uint64
	var last []byte
	err := db.QueryRowContext(ctx, `SELECT next, last FROM state`).Scan(&next, &last)
	if err == nil {
		err = d.isOf(ctx, next, last)
	}
	if err != nil {
		return fmt.Errorf("open the list of known evidence: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.db.Close(); err != nil {
		d.logger.Warn("close the copy of the list of known evidence", "error", err)
	}
	d.db, d.next = db, next
	return nil
}

func (d *duplicatesDB) tellDamaged(err error) {
	d.logger.Warn("the list of known evidence is damaged: it is made anew from the entries", "file", d.path, "error", err)
}

const errOtherEntries = sqlite.Damage("it is not of this log's entries")

// isOf holds how far a database is to the tree.
func (d *duplicatesDB) isOf(ctx context.Context, next uint64, last []byte) error {
	size, err := d.size(ctx)
	if err != nil || next == 0 {
		return err
	}
	if next > size {
		return fmt.Errorf("%d entries of a tree of %d: %w", next, size, errOtherEntries)
	}
	leaves, err := d.entries(ctx, next-1, 1)
	if err == nil && !bytes.Equal(last, leafHash(leaves[0])) {
		err = fmt.Errorf("entry %d is another: %w", next-1, errOtherEntries)
	}
	return err
}

// remove removes a database that was found damaged while it was open.
func (d *duplicatesDB) remove() (damaged bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.damaged == nil {
		return false, nil
	}
	d.tellDamaged(d.damaged)
	inFolder := !d.db.IsTemporary()
	if err := d.db.Close(); err != nil {
		d.logger.Warn("close the damaged list of known evidence", "error", err)
	}
	d.db, d.damaged = nil, nil
	if inFolder {
		err = sqlite.Remove(d.path)
	}
	return true, err
}

func (d *duplicatesDB) close() error {
	d.writing.Lock()
	defer d.writing.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	err := d.db.Close()
	d.db, d.ready = nil, false
	return err
}
