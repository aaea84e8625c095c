package folder

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/durable"
	"github.com/poclog/poclog/internal/sqlite"
)

// Limits of the places.
const (
	placesPause = 2 * time.Second // between transactions
	placesBatch = 16 * 1024       // files in one transaction, about 1 MB
	maxPlaces   = 128 * 1024      // in memory, about 150 bytes each
)

// placeSchema: where the files are of which the record ends before the end that its segment has.
var placeSchema = sqlite.Schema{`
	CREATE TABLE segments (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, end INTEGER NOT NULL) STRICT;
	CREATE TABLE places (digest BLOB PRIMARY KEY, segment INTEGER NOT NULL REFERENCES segments, at INTEGER NOT NULL, size INTEGER NOT NULL) STRICT, WITHOUT ROWID;
`}

// places say where in the segments each file is. They are derived: a database has them up to some
// end of each segment, and what lies beyond is in memory, after a start by reading it. A process
// that does not serve the log reads the database, or a copy in a temporary folder where it cannot,
// and sees what the log appends meanwhile.
type places struct {
	dir    string // of the segments
	path   string // of the database
	logger *slog.Logger
	pause  time.Duration // between transactions

	writing sync.Mutex // held while the database is opened, written or closed
	files   durable.FS // under writing

	mu      sync.RWMutex // guards what follows
	db      *sqlite.DB   // nil until it is open
	serving bool         // the database in the folder is this process's to write
	damaged bool         // it is to be made anew
	damage  error        // that this process, which does not serve the log, found in it
	closed  bool
	fresh   map[poclog.Digest]place
	leaving map[poclog.Digest]place // are being written
	ends    map[string]int64        // by segment: what lies before is known
	moved   map[string]int64        // those of ends that the database does not have
	making  bool                    // from the segments, so that what is not found may be there
	err     error                   // of the last try to write
	stop    chan struct{}           // nil: nothing runs
	stopped chan struct{}
}

func newPlaces(dir, path string, logger *slog.Logger) *places {
	return &places{dir: dir, path: path, logger: logger, pause: placesPause, fresh: make(map[poclog.Digest]place), ends: make(map[string]int64), moved: make(map[string]int64)}
}

// serve makes this process the one that writes the database. What another process left unsynced is
// synced before it is known. It can be called again.
func (p *places) serve(files durable.FS) error {
	p.writing.Lock()
	defer p.writing.Unlock()
	p.files = files
	err := p.openFolder()
	if err == nil {
		err = p.write(context.Background())
	}
	if err != nil {
		return fmt.Errorf("the list of where evidence is: %w", err)
	}
	if p.stop == nil {
		p.stop, p.stopped = make(chan struct{}), make(chan struct{})
		go p.run()
	}
	return nil
}

// openFolder opens the database in its folder for writing. The caller holds writing.
func (p *places) openFolder() error {
	p.mu.Lock()
	if p.serving && !p.damaged {
		p.mu.Unlock()
		return nil
	}
	p.making, p.serving = true, false
	damaged, err := p.damaged, p.drop()
	p.mu.Unlock()
	if err != nil && p.logger != nil {
		p.logger.Warn("close the list of where evidence is", "error", err)
	}
	if damaged {
		if err := sqlite.Remove(p.path); err != nil {
			return err
		}
	}
	if err := p.file().Open(); err != nil {
		return err
	}
	return p.follow(context.Background(), true)
}

// openReading opens the database, or a copy, for a process that does not write it. Of one that is
// damaged it makes another from the segments. The caller holds writing.
func (p *places) openReading() error {
	p.mu.Lock()
	damaged, done := p.damaged, p.db != nil && !p.damaged
	if damaged {
		_ = p.drop() // nothing was written
	}
	p.mu.Unlock()
	if list, _, err := segments(p.dir); err != nil || len(list) == 0 || done {
		return err
	}
	if damaged {
		return p.file().OpenCopy(false)
	}
	if db, err := sqlite.Open(p.path, placeSchema); err == nil {
		if p.use(db) == nil {
			return nil
		}
		_ = db.Close() // it cannot be read: a copy may be
	}
	return p.file().OpenCopy(true)
}

func (p *places) file() *sqlite.Derived {
	return &sqlite.Derived{Path: p.path, Schema: placeSchema, Use: p.use, Told: func(err error) {
		if p.logger != nil {
			p.logger.Warn("the list of where evidence is is damaged: it is made anew from the segments", "file", p.path, "error", err)
		}
	}}
}

// use takes a database. None is in use.
func (p *places) use(db *sqlite.DB) error {
	ends, err := readEnds(db)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.db, p.ends, p.damaged = db, ends, false
	clear(p.moved)
	return nil
}

// readEnds returns up to where a database has the segments. Some may be gone by now, or be shorter
// in a copy: what is not in its place is written anew when it is put.
func readEnds(db *sqlite.DB) (map[string]int64, error) {
	ends := make(map[string]int64)
	err := sqlite.Each(context.Background(), db.Read, `SELECT name, end FROM segments`, nil, func(rows *sql.Rows) error {
		var name string
		var end int64
		err := rows.Scan(&name, &end)
		ends[name] = end
		return err
	})
	return ends, err
}

// drop closes what is open. The caller holds mu.
func (p *places) drop() (err error) {
	err = p.db.Close()
	p.db = nil
	return err
}

// follow reads what was appended to the segments since. Who serves the log is alone: a record that
// is not whole will never be. Others read it again. The caller holds writing.
func (p *places) follow(ctx context.Context, serve bool) error {
	list, _, err := segments(p.dir)
	if err != nil {
		return err
	}
	if serve {
		if err := p.files.SyncDir(p.dir); err != nil {
			return err
		}
	}
	for _, s := range list {
		if err := p.followOne(ctx, s, serve); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.serving, p.making = serve, false
	return nil
}

func (p *places) followOne(ctx context.Context, s segment, serve bool) error {
	path := filepath.Join(p.dir, s.name)
	info, err := os.Stat(path)
	p.mu.RLock()
	last := p.ends[s.name]
	own := serve || p.db.IsTemporary()
	p.mu.RUnlock()
	if err != nil || info.Size() <= last {
		return err
	}
	if serve {
		if err := p.files.Sync(path); err != nil {
			return err
		}
	}
	end, err := s.walk(ctx, p.dir, last, func(r *record) error {
		if !r.right {
			return nil
		}
		n := p.add(s.name, last, r.at+r.size, map[poclog.Digest]place{r.digest: r.place})
		last = r.at + r.size
		if own && n >= placesBatch {
			return p.write(ctx)
		}
		return nil
	})
	if err == nil && serve {
		p.add(s.name, last, end, nil)
	}
	return err
}

// add notes where the files of a part of a segment are. It returns how many are in memory. If what
// lies before that part was not read yet, the part is read again.
func (p *places) add(segment string, from, end int64, found map[poclog.Digest]place) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.Copy(p.fresh, found)
	if p.ends[segment] == from {
		p.ends[segment], p.moved[segment] = end, end
	}
	return len(p.fresh)
}

// room is an error where too many places are in memory.
func (p *places) room() error {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if len(p.fresh)+len(p.leaving) >= maxPlaces {
		return errors.Join(errors.New("the list of where evidence is is behind"), p.err)
	}
	return nil
}

// find returns where a file is. Who does not serve the log looks again after it read what is new, and
// once more after it made a list of its own.
func (p *places) find(ctx context.Context, d poclog.Digest) (at place, ok bool, err error) {
	for try := 0; ; try++ {
		p.mu.RLock()
		db := p.db
		p.mu.RUnlock()
		at, ok, follows, err := p.look(ctx, d)
		damaged := sqlite.IsDamaged(err)
		if damaged {
			follows, err = p.doubt(db, err)
		}
		if ok || err != nil || !follows || try == 2 || try == 1 && !damaged {
			return at, ok, err
		}
		if err := p.catchUp(ctx); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return place{}, false, err
		}
	}
}

// catchUp reads what another process wrote.
func (p *places) catchUp(ctx context.Context) error {
	p.writing.Lock()
	defer p.writing.Unlock()
	if err := p.openReading(); err != nil {
		return err
	}
	return p.follow(ctx, false)
}

// doubt has a database made anew that was found damaged, unless it was since. Who serves the log does so
// soon. Others go on with one of their own.
func (p *places) doubt(db *sqlite.DB, err error) (follows bool, _ error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.db == db {
		p.damaged = true
	}
	err = fmt.Errorf("%s, the list of where evidence is, is damaged: %w", p.path, err)
	if p.serving || p.making {
		return false, err
	}
	p.damage = err
	return true, nil
}

// look looks in memory and in the database. Follows says that another process writes the segments.
func (p *places) look(ctx context.Context, d poclog.Digest) (at place, ok, follows bool, err error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if at, ok = p.inMemory(d); ok {
		return at, true, false, nil
	}
	if p.db != nil {
		err = p.db.Row(ctx, `SELECT name, at, size FROM places JOIN segments ON id = segment WHERE digest = ?`, d[:]).Scan(&at.segment, &at.at, &at.size)
		if !errors.Is(err, sql.ErrNoRows) {
			return at, err == nil, false, err
		}
	}
	if p.closed {
		return at, false, false, fs.ErrClosed
	}
	if p.making {
		return at, false, false, errMaking
	}
	return at, false, !p.serving, nil
}

func (p *places) inMemory(d poclog.Digest) (at place, ok bool) {
	if at, ok = p.fresh[d]; !ok {
		at, ok = p.leaving[d]
	}
	return at, ok
}

// recent returns where a file is that was just written, if it is in memory.
func (p *places) recent(d poclog.Digest) (at place, ok bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.inMemory(d)
}

var errMaking = errors.New("the list of where evidence is is being made anew from the segments")

// run writes what is new, until close.
func (p *places) run() {
	defer close(p.stopped)
	for {
		select {
		case <-p.stop:
			return
		case <-time.After(p.pause):
		}
		p.turn()
	}
}

// turn writes what is in memory. A database that is damaged is made anew.
func (p *places) turn() {
	p.writing.Lock()
	defer p.writing.Unlock()
	err := p.openFolder()
	if err == nil {
		err = p.write(context.Background())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.damaged = p.damaged || sqlite.IsDamaged(err)
	if err != nil && (p.err == nil || p.err.Error() != err.Error()) && p.logger != nil {
		p.logger.Error("the list of where evidence is cannot be written: it is tried again", "error", err)
	}
	p.err = err
}

// write moves what is in memory to the database. The caller holds writing.
func (p *places) write(ctx context.Context) error {
	p.mu.Lock()
	if p.leaving == nil && len(p.fresh) == 0 {
		p.mu.Unlock()
		return nil
	}
	p.leaving, p.fresh = p.fresh, make(map[poclog.Digest]place)
	leaving, moved, db := p.leaving, p.moved, p.db
	p.moved = make(map[string]int64)
	p.mu.Unlock()
	err := writePlaces(ctx, db, leaving, moved)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		maps.Copy(leaving, p.fresh)
		maps.Copy(moved, p.moved)
		p.fresh, p.moved = leaving, moved
	}
	p.leaving = nil
	return err
}

func writePlaces(ctx context.Context, db *sqlite.DB, found map[poclog.Digest]place, ends map[string]int64) error {
	for _, at := range found {
		if _, ok := ends[at.segment]; !ok {
			ends[at.segment] = 0 // what lies before was not read
		}
	}
	return db.Tx(ctx, func(tx *sql.Tx) error {
		for name, end := range ends {
			if _, err := tx.Exec(`INSERT INTO segments (name, end) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET end = max(end, excluded.end)`, name, end); err != nil {
				return err
			}
		}
		put, err := tx.Prepare(`INSERT OR REPLACE INTO places SELECT ?, id, ?, ? FROM segments WHERE name = ?`)
		if err != nil {
			return err
		}
		defer put.Close()
		for _, d := range slices.SortedFunc(maps.Keys(found), func(a, b poclog.Digest) int { return bytes.Compare(a[:], b[:]) }) {
			at := found[d]
			if err := sqlite.OneRow(put.Exec(d[:], at.at, at.size, at.segment)); err != nil {
				return err
			}
		}
		return nil
	})
}

// forget removes files from the database of a log that is stopped, if there is one. One that is damaged
// is removed: it is made anew.
func forget(ctx context.Context, path string, list map[poclog.Digest]bool) error {
	db, err := sqlite.Open(path, placeSchema)
	if err == nil {
		err = errors.Join(db.Tx(ctx, func(tx *sql.Tx) error {
			for d := range list {
				if _, err := tx.Exec(`DELETE FROM places WHERE digest = ?`, d[:]); err != nil {
					return err
				}
			}
			return nil
		}), db.Close())
	}
	if sqlite.IsDamaged(err) {
		return sqlite.Remove(path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// close writes what is in memory, so that the next start need not read it.
func (p *places) close() error {
	if p.stop != nil {
		close(p.stop)
		<-p.stopped
		p.turn()
	}
	p.writing.Lock()
	defer p.writing.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	return p.drop()
}
