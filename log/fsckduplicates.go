package log

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/sqlite"
	"github.com/poclog/poclog/log/store"
)

// A duplicatesCheck holds a folder's duplicates to the entries. The log may be running: what it
// wrote since the check began is not judged.
type duplicatesCheck struct {
	path   string
	db     *sqlite.DB
	next   uint64 // entries below it were known when the check began
	ahead  bool   // so were entries that are not published: config may be one of them
	config []byte // the newest config entry among them, as it was known then
	newest []byte // as the entries have it
	stated int    // keys that were found under the number of the entry that states them
	wrong  bool
}

// openDuplicates opens the duplicates in a file, or returns nil where there are none: they are
// derived. Entries from a size on are not published yet, and are not read.
func openDuplicates(path string, size uint64) (*duplicatesCheck, error) {
	if path == "" {
		return nil, nil
	}
	db, err := sqlite.Open(path, duplicateSchema)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the list of known evidence: %w", err)
	}
	d := &duplicatesCheck{path: path, db: db}
	if err := db.Read.QueryRow(`SELECT next, config FROM state`).Scan(&d.next, &d.config); err != nil {
		return nil, errors.Join(fmt.Errorf("%s, the list of known evidence: %w", path, err), db.Close())
	}
	d.ahead, d.next = d.next > size, min(d.next, size)
	return d, nil
}

func (d *duplicatesCheck) close() {
	if d != nil {
		_ = d.db.Close() // nothing was written
	}
}

// entry says what the list has wrong of an entry, or nothing.
func (d *duplicatesCheck) entry(ctx context.Context, number uint64, leaf []byte, l poclog.Leaf) (detail string, err error) {
	if d == nil || number >= d.next {
		return "", nil
	}
	if l.Config != nil {
		d.newest = leaf
	}
	if l.Proof == nil {
		return "", nil
	}
	proved := provedBy(l.Proof)
	for _, key := range answered(l.Proof) {
		var k store.KnownEntry
		err := d.db.Row(ctx, lookupKnown, key[:]).Scan(&k.Number, &k.Proved)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			detail = "the list of known evidence lacks it"
		case err != nil:
			return d.unread(err)
		case k.Number == number && k.Proved == proved:
			d.stated++
		case k.Number == number, !k.Answers(proved):
			detail = "the list of known evidence has another of it"
		}
	}
	d.wrong = d.wrong || detail != ""
	return detail, nil
}

// end says what is wrong with the list as a whole, or nothing.
func (d *duplicatesCheck) end(ctx context.Context) (detail string, err error) {
	if d == nil || d.wrong {
		return "", nil
	}
	rows := 0
	if err := d.db.Read.QueryRowContext(ctx, `SELECT count(*) FROM known WHERE number < ?`, int64(d.next)).Scan(&rows); err != nil {
		return d.unread(err)
	}
	switch {
	case rows > d.stated:
		return fmt.Sprintf("the list of known evidence has %d keys that no entry states", rows-d.stated), nil
	case !d.ahead && !bytes.Equal(d.config, d.newest):
		return "the list of known evidence has another config entry", nil
	}
	return "", nil
}

// unread says that the list is damaged, of which no more is checked then. Another error is one.
func (d *duplicatesCheck) unread(err error) (detail string, _ error) {
	err = fmt.Errorf("%s, the list of known evidence: %w", d.path, err)
	if !sqlite.IsDamaged(err) {
		return "", err
	}
	d.next, d.wrong = 0, true
	return err.Error() + removeDerived, nil
}
