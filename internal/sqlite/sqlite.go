// Package sqlite opens the SQLite databases in which the services keep their state.
//
// Every database has one connection that writes, a write-ahead log, synchronous=FULL and immediate
// transactions: what a transaction wrote is on disk once it returns, and a transaction that began
// can commit. One connection is faster than several, which would contend for the one write lock.
// Several processes may have one database open.
//
// A database is made whole or not at all. Open makes no tables: the state of a service that forgot
// what it did must be missed, not begun again. The tests are the evidence.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync"

	driver "modernc.org/sqlite" // the driver "sqlite"
	lib "modernc.org/sqlite/lib"

	"github.com/poclog/poclog/internal/durable"
)

const (
	busyTimeout = "busy_timeout(10000)" // milliseconds for which a transaction waits for another process
	readers     = 4                     // connections that read beside the one that writes
)

// A Schema is the statements that make a database, step by step: step i takes it from version i to
// i+1, and the first makes the tables. Steps must not begin or end transactions, nor set the
// version.
type Schema []string

// A DB is an open database. Its own methods use the one connection that writes: while rows of a
// query are open, they wait.
type DB struct {
	*sql.DB
	Read *sql.DB // connections that cannot write, and do not wait for who does

	temporary string   // the folder that Close removes; empty: none
	prepared  sync.Map // of *sql.Stmt on Read, by query
}

// Create makes a database with the tables of a schema, for its owner alone. It is durable and whole
// once Create returns. If there is a file already, the error wraps fs.ErrExist.
func Create(path string, s Schema) error {
	b, err := s.file()
	if err != nil {
		return fmt.Errorf("make the tables of %s: %w", path, err)
	}
	return durable.Create(path, b, 0o600)
}

// file returns the bytes of a new database.
func (s Schema) file() (b []byte, err error) {
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		return nil, err
	}
	defer db.Close()
	db.SetMaxOpenConns(1) // each has a database of its own
	if err := s.migrate(&DB{DB: db}, 0); err != nil {
		return nil, err
	}
	c, err := db.Conn(context.Background())
	if err != nil {
		return nil, err
	}
	defer c.Close()
	err = c.Raw(func(driver any) error {
		b, err = driver.(interface{ Serialize() ([]byte, error) }).Serialize()
		return err
	})
	return b, err
}

// Open opens a database that Create made, and brings it to the schema's version. If there is none,
// the error wraps fs.ErrNotExist. A database of a later version, and one without tables, is
// refused.
func Open(path string, s Schema) (*DB, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, err // SQLite would make it
	}
	db, err := connect(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := s.migrate(db, 1); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), db.Close())
	}
	return db, nil
}

// Make opens a database, and makes it where there is none, with the folder above it.
func Make(path string, s Schema) (*DB, error) {
	if err := durable.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	if err := Create(path, s); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make %s: %w", path, err)
	}
	return Open(path, s)
}

// A Derived is a database whose content can be made anew. Use takes it in use; if it fails, the
// database is closed. One that is damaged is removed and opened once more, of which Told hears.
type Derived struct {
	Path   string
	Schema Schema
	Use    func(*DB) error
	Told   func(error)
}

// Open opens the database in its file.
func (d *Derived) Open() error {
	return d.open(func() (*DB, error) { return Make(d.Path, d.Schema) }, func() error { return Remove(d.Path) })
}

// OpenCopy opens a copy of a database that nobody writes to, in a folder that Close removes. Where
// there is none that is whole, it is a new one.
func (d *Derived) OpenCopy(whole bool) error {
	return d.open(func() (*DB, error) { return d.temporary(whole) }, func() error { whole = false; return nil })
}

func (d *Derived) open(open func() (*DB, error), remove func() error) error {
	_, err := Anew(func() (*DB, error) {
		db, err := open()
		if err != nil {
			return nil, err
		}
		if err := d.Use(db); err != nil {
			return nil, errors.Join(err, db.Close())
		}
		return db, nil
	}, remove, d.Told)
	return err
}

func (d *Derived) temporary(whole bool) (db *DB, err error) {
	dir, err := os.MkdirTemp("", "poclog-*")
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, filepath.Base(d.Path))
	if !whole || Copy(d.Path, path) != nil {
		err = Remove(path)
	}
	if err == nil {
		db, err = Make(path, d.Schema)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	db.temporary = dir
	return db, nil
}

// IsTemporary reports whether a database, if there is one, is a copy in a folder of its own.
func (d *DB) IsTemporary() bool { return d != nil && d.temporary != "" }

// Anew opens what is derived from elsewhere. If it is damaged, told hears so, it is removed, and is
// opened once more.
func Anew[T any](open func() (T, error), remove func() error, told func(error)) (T, error) {
	v, err := open()
	if !IsDamaged(err) {
		return v, err
	}
	told(err)
	if err := remove(); err != nil {
		return v, err
	}
	return open()
}

func connect(path string) (*DB, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	db, err := open(path, 1, "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)")
	if err != nil {
		return nil, err
	}
	if err := db.Ping(); err != nil { // before any reader: this sets the journal mode
		return nil, errors.Join(err, db.Close())
	}
	read, err := open(path, readers, "query_only(1)")
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &DB{DB: db, Read: read}, nil
}

func open(path string, conns int, pragmas ...string) (*sql.DB, error) {
	q := url.Values{"_txlock": {"immediate"}, "_pragma": append([]string{busyTimeout}, pragmas...)}
	u := url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: q.Encode()}
	db, err := sql.Open("sqlite", u.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return db, nil
}

// migrate takes a database that is at least of a version to the newest, in one transaction.
func (s Schema) migrate(db *DB, least int) error {
	version, err := s.version(db, least)
	if err != nil || version == len(s) {
		return err // the lock that a transaction takes is not needed
	}
	return db.Tx(context.Background(), func(tx *sql.Tx) error {
		version, err := s.version(tx, least) // another process may have been faster
		if err != nil {
			return err
		}
		for i, step := range s[version:] {
			if _, err := tx.Exec(step); err != nil {
				return fmt.Errorf("make version %d: %w", version+i+1, err)
			}
		}
		_, err = tx.Exec(fmt.Sprintf("PRAGMA user_version = %d", len(s)))
		return err
	})
}

// version returns the version of a database, which must be at least least, and at most the
// schema's.
func (s Schema) version(q interface{ QueryRow(string, ...any) *sql.Row }, least int) (version int, err error) {
	if err := q.QueryRow("PRAGMA user_version").Scan(&version); err != nil {
		return 0, err
	}
	if version < least || version > len(s) {
		return 0, fmt.Errorf("version %d: want %d: %w", version, len(s), errVersion)
	}
	return version, nil
}

// Close closes all connections, with the statements that were prepared on them. It does nothing
// where there is no database.
func (d *DB) Close() error {
	if d == nil {
		return nil
	}
	err := errors.Join(d.Read.Close(), d.DB.Close())
	if d.temporary != "" {
		err = errors.Join(err, os.RemoveAll(d.temporary))
	}
	return err
}

// Row asks for one row on a connection that reads. The query is parsed once, for all who ask it.
func (d *DB) Row(ctx context.Context, query string, args ...any) *sql.Row {
	s, ok := d.prepared.Load(query)
	if !ok {
		fresh, err := d.Read.PrepareContext(ctx, query)
		if err != nil {
			return d.Read.QueryRowContext(ctx, query, args...) // it fails in the same way
		}
		if s, ok = d.prepared.LoadOrStore(query, fresh); ok {
			_ = fresh.Close() // another was faster
		}
	}
	return s.(*sql.Stmt).QueryRowContext(ctx, args...)
}

// Each calls a function with each row of a query, of any database. The function scans it.
func Each(ctx context.Context, db *sql.DB, query string, args []any, do func(*sql.Rows) error) error {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := do(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// A Statement is one that many transactions make. It is parsed once.
type Statement struct{ stmt *sql.Stmt }

// Statement prepares a statement. It must not be called within a transaction, which has the one
// connection that writes.
func (d *DB) Statement(query string) (*Statement, error) {
	s, err := d.DB.Prepare(query)
	if err != nil {
		return nil, err
	}
	return &Statement{s}, nil
}

// Exec makes the statement in a transaction of its database.
func (s *Statement) Exec(tx *sql.Tx, args ...any) (sql.Result, error) {
	return tx.Stmt(s.stmt).Exec(args...)
}

// Tx does something in one transaction, which is durable once Tx returns nil. If do fails, nothing
// is changed.
func (d *DB) Tx(ctx context.Context, do func(*sql.Tx) error) error {
	tx, err := d.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // after a commit this does nothing
	if err := do(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// Copy copies a database that nobody writes to another folder, for its owner alone. Its write-ahead
// log comes along, and what the connections share is made anew. The copy is not durable.
func Copy(from, to string) error {
	if err := copyFile(from, to); err != nil {
		return err
	}
	if err := copyFile(from+"-wal", to+"-wal"); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// A Damage is an error of content that is to be made anew from where it is derived.
type Damage string

func (d Damage) Error() string { return string(d) }

// IsDamaged reports whether an error says that a file is no whole database, of no version that the
// schema knows, or has a [Damage]: who can make its content anew does so.
func IsDamaged(err error) bool {
	if _, ok := errors.AsType[Damage](err); ok {
		return true
	}
	e, ok := errors.AsType[*driver.Error](err)
	return ok && (e.Code()&0xff == lib.SQLITE_CORRUPT || e.Code()&0xff == lib.SQLITE_NOTADB)
}

// Remove removes a database that is not open, with the files beside it. One that is not there is
// removed already.
func Remove(path string) error {
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

const errVersion = Damage("a version that is unknown")

// errRace says that a statement found another state than the one on which it was decided.
var errRace = errors.New("another process was faster")

// OneRow passes on the outcome of a statement that must have changed exactly one row: else the
// error wraps errRace.
func OneRow(res sql.Result, err error) error {
	n, err := Changed(res, err)
	if err != nil {
		return err
	}
	if n != 1 {
		return fmt.Errorf("%d rows changed: %w", n, errRace)
	}
	return nil
}

// Changed returns how many rows a statement changed.
func Changed(res sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}
