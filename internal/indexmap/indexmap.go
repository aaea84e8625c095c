// Package indexmap keeps the index of a log (package verify/index, docs/format.md §16) for those
// who build it: the log, auditors and monitors.
//
// A Map is derived: it holds nothing that the log's entries do not say, and can be made anew from
// them. Names, their values and their numbers are in a database. The Patricia tree over the values
// is in memory, about 140 bytes a name, and is built from the database when the map is opened. What
// a method wrote is durable once it returns: a process that is killed goes on where it was. No
// entry is missed or counted twice, because the database knows which entry is next.
// TestKilledMapsGoOn is the evidence.
//
// Entries are taken as they come ([Map.Follow]). The tree stays at the size of an index entry until
// the next one comes, which must have the root that the entries give: proofs are those of a
// published root.
package indexmap

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync"

	"filippo.io/torchwood/mpt"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/sqlite"
	"github.com/poclog/poclog/verify/index"
)

// schema: pending has what entries from size on state; numbers has what those below it do. A name's
// value is that of its numbers in numbers.
var schema = sqlite.Schema{`
	CREATE TABLE state (one INTEGER PRIMARY KEY CHECK (one = 1), size INTEGER NOT NULL, entry INTEGER NOT NULL, next INTEGER NOT NULL) STRICT;
	INSERT INTO state VALUES (1, 0, 0, 0);
	CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, value BLOB NOT NULL) STRICT;
	CREATE TABLE numbers (name INTEGER NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (name, number)) STRICT, WITHOUT ROWID;
	CREATE TABLE pending (number INTEGER NOT NULL, name TEXT NOT NULL, PRIMARY KEY (number, name)) STRICT, WITHOUT ROWID;
`}

// A Map is the index of one log. Its methods may be called at the same time.
type Map struct {
	db *sqlite.DB

	// mu is held to write by whoever changes the database or the tree, and to read by whoever needs
	// both to agree.
	mu   sync.RWMutex
	tree mpt.Tree
	at   State
}

// A State is how far a map is.
type State struct {
	Size  uint64 // the tree is of the entries below it
	Entry uint64 // number of the index entry that committed to the tree; 0: none did
	Root  poclog.Digest
	Next  uint64 // the next entry to be added
}

// Open opens the map in a file, and makes an empty one where there is none. Progress, if not nil,
// is told how many names of how many are in the tree: building it takes about ten seconds for a
// million.
func Open(path string, progress func(done, total int)) (*Map, error) {
	db, err := sqlite.Make(path, schema)
	if err != nil {
		return nil, fmt.Errorf("open the index: %w", err)
	}
	m := &Map{db: db, tree: mpt.NewMemTree()}
	if err := m.load(progress); err != nil {
		return nil, errors.Join(fmt.Errorf("open the index %s: %w", path, err), db.Close())
	}
	return m, nil
}

// Close closes the map.
func (m *Map) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.db.Close()
}

func (m *Map) load(progress func(done, total int)) error {
	if err := m.db.QueryRow(`SELECT size, entry, next FROM state`).Scan(&m.at.Size, &m.at.Entry, &m.at.Next); err != nil {
		return err
	}
	total := 0
	if err := m.db.QueryRow(`SELECT count(*) FROM names`).Scan(&total); err != nil {
		return err
	}
	rows, err := m.db.Query(`SELECT name, value FROM names`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for done := 0; rows.Next(); done++ {
		if progress != nil && done%10000 == 0 {
			progress(done, total)
		}
		var name string
		var value []byte
		if err := rows.Scan(&name, &value); err != nil {
			return err
		}
		if err := m.set(name, value); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	return m.snap()
}

func (m *Map) set(name string, value []byte) error {
	if len(value) != len(index.Value{}) {
		return fmt.Errorf("value of %s has %d bytes", name, len(value))
	}
	return m.tree.Set(mpt.Key(index.KeyOf(name)), mpt.Val(value))
}

// snap computes the root.
func (m *Map) snap() error {
	s, err := m.tree.Snap(int64(m.at.Size))
	m.at.Root = poclog.Digest(s.Hash)
	return err
}

// State returns how far the map is.
func (m *Map) State() State {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.at
}

// ErrOrder says that entries were added that are not the next ones, or that a size is out of reach.
var ErrOrder = errors.New("out of order")

// A WrongError says that an index entry is not of the entries before it: its log lies, or its
// software is at fault.
type WrongError struct {
	Entry uint64 // number of the index entry
	What  string
	Right poclog.Digest // the root that it should have; zero where it is not the root that is wrong
}

func (e *WrongError) Error() string { return fmt.Sprintf("index entry %d: %s", e.Entry, e.What) }

// Follow takes the next entries, each index entry among them included: the tree moves to its size,
// and must have its root there. An index entry that is wrong is a [*WrongError], and what stands
// before it is taken. A malformed leaf states nothing: what becomes of a log that publishes one is
// for the caller to say.
func (m *Map) Follow(ctx context.Context, first uint64, leaves [][]byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if first != m.at.Next {
		return fmt.Errorf("add entry %d to an index that waits for entry %d: %w", first, m.at.Next, ErrOrder)
	}
	from := 0
	for i, leaf := range leaves {
		l, err := poclog.ParseLeaf(leaf)
		if err != nil || l.Index == nil {
			continue
		}
		if err := m.take(ctx, leaves[from:i], nil); err != nil {
			return err
		}
		if err := m.take(ctx, leaves[i:i+1], l.Index); err != nil {
			return err
		}
		from = i + 1
	}
	return m.take(ctx, leaves[from:], nil)
}

// take adds entries and, where the one is an index entry, moves the tree: all or nothing.
func (m *Map) take(ctx context.Context, leaves [][]byte, head *poclog.IndexEntry) error {
	if len(leaves) == 0 {
		return nil
	}
	to := m.at
	to.Next += uint64(len(leaves))
	var list []change
	err := m.db.Tx(ctx, func(tx *sql.Tx) (err error) {
		if err := m.add(tx, leaves); err != nil {
			return err
		}
		if head != nil {
			to.Size, to.Entry = head.Size, m.at.Next
			if list, err = m.advance(tx, head); err != nil {
				return err
			}
		}
		return sqlite.OneRow(tx.Exec(`UPDATE state SET size = ?, entry = ?, next = ? WHERE next = ?`, int64(to.Size), int64(to.Entry), int64(to.Next), int64(m.at.Next)))
	})
	if err != nil {
		return fmt.Errorf("take entries %d to %d into the index: %w", m.at.Next, to.Next-1, err)
	}
	m.at = to
	if head == nil {
		return nil
	}
	// The database has it: what fails from here on is a programmer's bug, and opening the map again
	// mends it.
	for _, c := range list {
		if err := m.set(c.name, c.value[:]); err != nil {
			return err
		}
	}
	return m.snap()
}

func (m *Map) add(tx *sql.Tx, leaves [][]byte) error {
	put, err := tx.Prepare(`INSERT INTO pending VALUES (?, ?)`)
	if err != nil {
		return err
	}
	defer put.Close()
	for i, leaf := range leaves {
		names, _ := index.Names(leaf)
		for _, name := range names {
			if _, err := put.Exec(int64(m.at.Next)+int64(i), name); err != nil {
				return err
			}
		}
	}
	return nil
}

// A change is a name with the numbers that it gains, and the value with them.
type change struct {
	name    string
	id      int64 // 0: the name is new
	value   index.Value
	numbers []uint64
}

// changes returns what the pending entries below a size change, in any order.
func changes(q interface {
	Query(string, ...any) (*sql.Rows, error)
}, size uint64) ([]change, error) {
	rows, err := q.Query(`SELECT p.name, p.number, ifnull(n.id, 0), n.value FROM pending p LEFT JOIN names n ON n.name = p.name WHERE p.number < ? ORDER BY p.number`, int64(size))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []change
	at := make(map[string]int)
	for rows.Next() {
		var c change
		var number uint64
		var value []byte
		if err := rows.Scan(&c.name, &number, &c.id, &value); err != nil {
			return nil, err
		}
		i, seen := at[c.name]
		if !seen {
			copy(c.value[:], value)
			i = len(list)
			at[c.name] = i
			list = append(list, c)
		}
		list[i].value = list[i].value.Next(number)
		list[i].numbers = append(list[i].numbers, number)
	}
	return list, rows.Err()
}

// Predict returns the root that the map has at a size, and changes nothing.
func (m *Map) Predict(size uint64) (poclog.Digest, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if size < m.at.Size || size > m.at.Next {
		return poclog.Digest{}, fmt.Errorf("index of %d entries: want %d to %d: %w", size, m.at.Size, m.at.Next, ErrOrder)
	}
	list, err := changes(m.db.Read, size)
	if err != nil {
		return poclog.Digest{}, fmt.Errorf("read the index: %w", err)
	}
	return m.predict(list)
}

func (m *Map) predict(list []change) (poclog.Digest, error) {
	pairs := make([]mpt.KeyVal, len(list))
	for i, c := range list {
		pairs[i] = mpt.KeyVal{Key: mpt.Key(index.KeyOf(c.name)), Val: mpt.Val(c.value)}
	}
	slices.SortFunc(pairs, mpt.KeyVal.Compare)
	root, err := m.tree.Predict(pairs)
	return poclog.Digest(root), err
}

// advance holds an index entry, which is the next entry, to what the entries before it state, and
// moves the database to its size.
func (m *Map) advance(tx *sql.Tx, head *poclog.IndexEntry) ([]change, error) {
	wrong := &WrongError{Entry: m.at.Next}
	switch {
	case head.Algorithm != index.Algorithm:
		wrong.What = fmt.Sprintf("algorithm %d: this software knows %d", head.Algorithm, index.Algorithm)
		return nil, wrong
	case head.Size > m.at.Next || head.Size < m.at.Size:
		wrong.What = fmt.Sprintf("size %d: want %d to %d", head.Size, m.at.Size, m.at.Next)
		return nil, wrong
	}
	list, err := changes(tx, head.Size)
	if err != nil {
		return nil, err
	}
	root, err := m.predict(list)
	if err != nil {
		return nil, err
	}
	if root != head.Root {
		wrong.What, wrong.Right = fmt.Sprintf("root %s at size %d: the entries give %s", head.Root, head.Size, root), root
		return nil, wrong
	}
	if err := apply(tx, list); err != nil {
		return nil, err
	}
	_, err = tx.Exec(`DELETE FROM pending WHERE number < ?`, int64(head.Size))
	return list, err
}

// apply writes changes. The statements are such that SQLite needs no journal of each: that took
// most of the time.
func apply(tx *sql.Tx, list []change) error {
	var put, move, number *sql.Stmt
	for _, s := range []struct {
		stmt *(*sql.Stmt)
		text string
	}{
		{&put, `INSERT INTO names (name, value) VALUES (?, ?)`},
		{&move, `UPDATE names SET value = ? WHERE id = ?`},
		{&number, `INSERT INTO numbers VALUES (?, ?)`},
	} {
		var err error
		if *s.stmt, err = tx.Prepare(s.text); err != nil {
			return err
		}
		defer (*s.stmt).Close()
	}
	for _, c := range list {
		id, err := c.id, error(nil)
		if id == 0 {
			var r sql.Result
			if r, err = put.Exec(c.name, c.value[:]); err == nil {
				id, err = r.LastInsertId()
			}
		} else {
			err = sqlite.OneRow(move.Exec(c.value[:], id))
		}
		if err != nil {
			return err
		}
		for _, n := range c.numbers {
			if _, err := number.Exec(id, int64(n)); err != nil {
				return err
			}
		}
	}
	return nil
}

// Lookup returns what the index has of names: map proofs, and numbers, all of one state. Of those
// below since only the greatest is there; Before is then the value before it. Of names that are
// always listed from the first number on, all are there.
func (m *Map) Lookup(names []string, since uint64) (list []poclog.DossierName, at State, err error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	for _, name := range names {
		n, err := m.lookup(name, since)
		if err != nil {
			return nil, State{}, err
		}
		list = append(list, n)
	}
	return list, m.at, nil
}

func (m *Map) lookup(name string, since uint64) (n poclog.DossierName, err error) {
	if err := index.ParseName(name); err != nil {
		return n, err
	}
	proof, err := m.tree.Prove(mpt.Key(index.KeyOf(name)))
	if err != nil {
		return n, fmt.Errorf("prove %s: %w", name, err)
	}
	n = poclog.DossierName{Name: name, Proof: proof}
	numbers, err := m.numbers(name)
	if err != nil {
		return n, fmt.Errorf("read the numbers of %s: %w", name, err)
	}
	if index.FromTheFirst(name) {
		since = 0
	}
	from, _ := slices.BinarySearch(numbers, since)
	if from--; from > 0 {
		before := poclog.Digest(index.Value{}.Chain(numbers[:from]))
		n.Before, numbers = &before, numbers[from:]
	}
	n.Numbers = numbers
	return n, nil
}

// Pending returns names, at most max, that entries state which no index entry covers yet.
func (m *Map) Pending(max int) (names []string, err error) {
	rows, err := m.db.Read.Query(`SELECT DISTINCT name FROM pending LIMIT ?`, max)
	if err != nil {
		return nil, fmt.Errorf("read the index: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, fmt.Errorf("read the index: %w", err)
		}
		names = append(names, name)
	}
	return names, rows.Err()
}

// All returns all numbers of a name, whether an index entry covers them or not.
func (m *Map) All(name string) ([]uint64, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	list, err := m.numbers(name)
	if err != nil {
		return nil, fmt.Errorf("read the index: %w", err)
	}
	rows, err := m.db.Read.Query(`SELECT number FROM pending WHERE name = ? ORDER BY number`, name)
	if err != nil {
		return nil, fmt.Errorf("read the index: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var n uint64
		if err := rows.Scan(&n); err != nil {
			return nil, fmt.Errorf("read the index: %w", err)
		}
		list = append(list, n)
	}
	return list, rows.Err()
}

// numbers returns all numbers of a name below the tree's size.
func (m *Map) numbers(name string) (list []uint64, err error) {
	rows, err := m.db.Read.Query(`SELECT number FROM numbers WHERE name = (SELECT id FROM names WHERE name = ?) ORDER BY number`, name)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var n uint64
		if err := rows.Scan(&n); err != nil {
			return nil, err
		}
		list = append(list, n)
	}
	return list, rows.Err()
}
