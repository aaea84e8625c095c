// Package indexmap keeps the index of a log (package verify/index, docs/format.md §16) for those who build it: the log, auditors
// and monitors.
//
// A Map is derived: it holds nothing that the log's entries do not say, and can be made anew from them. Names, their values and
// their numbers are in a database. The Patricia tree over the values is in memory, about 140 bytes a name, and is built from the
// database when the map is opened. What a method wrote is durable once it returns: a process that is killed goes on where it was.
// No entry is missed or counted twice, because the database knows which entry is next. TestKilledMapsGoOn is the evidence.
//
// Entries are taken as they come ([Map.Add]). The tree stays at the size of an index entry until it is moved to the next one
// ([Map.Advance]): proofs are then those of a published root.
package indexmap

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"

	"filippo.io/torchwood/mpt"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/sqlite"
	"github.com/poclog/poclog/verify/index"
)

// schema: pending has what entries from size on state; numbers has what those below it do. A name's value is that of its numbers
// in numbers.
var schema = sqlite.Schema{`
	CREATE TABLE state (one INTEGER PRIMARY KEY CHECK (one = 1), size INTEGER NOT NULL, next INTEGER NOT NULL) STRICT;
	INSERT INTO state VALUES (1, 0, 0);
	CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, value BLOB NOT NULL) STRICT;
	CREATE TABLE numbers (name INTEGER NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (name, number)) STRICT, WITHOUT ROWID;
	CREATE TABLE pending (number INTEGER NOT NULL, name TEXT NOT NULL, PRIMARY KEY (number, name)) STRICT, WITHOUT ROWID;
`}

// A Map is the index of one log. Its methods may be called at the same time.
type Map struct {
	db *sqlite.DB

	// mu is held to write by whoever changes the database or the tree, and to read by whoever needs both to agree.
	mu   sync.RWMutex
	tree mpt.Tree
	size uint64 // the tree is of the entries below it
	next uint64 // the next entry to be added
	root poclog.Digest
}

// Open opens the map in a file, and makes an empty one where there is none. Progress, if not nil, is told how many names of how
// many are in the tree: building it takes about ten seconds for a million.
func Open(path string, progress func(done, total int)) (*Map, error) {
	if err := sqlite.Create(path, schema); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make the index: %w", err)
	}
	db, err := sqlite.Open(path, schema)
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
	if err := m.db.QueryRow(`SELECT size, next FROM state`).Scan(&m.size, &m.next); err != nil {
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
	s, err := m.tree.Snap(int64(m.size))
	m.root = poclog.Digest(s.Hash)
	return err
}

// Size returns the size that the tree is of, and its root there.
func (m *Map) Size() (uint64, poclog.Digest) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.size, m.root
}

// Next returns the number of the entry that is to be added next.
func (m *Map) Next() uint64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.next
}

// ErrOrder says that entries were added that are not the next ones, or that a size is out of reach.
var ErrOrder = errors.New("out of order")

// Add takes the next entries. It takes all or none. A malformed leaf states nothing: what becomes of a log that publishes one is
// for the caller to say.
func (m *Map) Add(ctx context.Context, first uint64, leaves [][]byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if first != m.next {
		return fmt.Errorf("add entry %d to an index that waits for entry %d: %w", first, m.next, ErrOrder)
	}
	next := first + uint64(len(leaves))
	err := m.db.Tx(ctx, func(tx *sql.Tx) error {
		put, err := tx.Prepare(`INSERT INTO pending VALUES (?, ?)`)
		if err != nil {
			return err
		}
		defer put.Close()
		for i, leaf := range leaves {
			names, _ := index.Names(leaf)
			for _, name := range names {
				if _, err := put.Exec(int64(first)+int64(i), name); err != nil {
					return err
				}
			}
		}
		return sqlite.OneRow(tx.Exec(`UPDATE state SET next = ? WHERE next = ?`, int64(next), int64(first)))
	})
	if err != nil {
		return fmt.Errorf("add entries %d to %d to the index: %w", first, next, err)
	}
	m.next = next
	return nil
}

// A change is a name with the numbers that it gains, and the value with them.
type change struct {
	name    string
	id      int64 // 0: the name is new
	value   index.Value
	numbers []uint64
}

// reachable refuses a size below the tree's, and one beyond what was added.
func (m *Map) reachable(size uint64) error {
	if size < m.size || size > m.next {
		return fmt.Errorf("index of %d entries: want %d to %d: %w", size, m.size, m.next, ErrOrder)
	}
	return nil
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
	if err := m.reachable(size); err != nil {
		return poclog.Digest{}, err
	}
	list, err := changes(m.db.Read, size)
	if err != nil {
		return poclog.Digest{}, fmt.Errorf("read the index: %w", err)
	}
	pairs := make([]mpt.KeyVal, len(list))
	for i, c := range list {
		pairs[i] = mpt.KeyVal{Key: mpt.Key(index.KeyOf(c.name)), Val: mpt.Val(c.value)}
	}
	slices.SortFunc(pairs, mpt.KeyVal.Compare)
	root, err := m.tree.Predict(pairs)
	return poclog.Digest(root), err
}

// Advance moves the tree to a size, and returns its root there.
func (m *Map) Advance(ctx context.Context, size uint64) (poclog.Digest, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.reachable(size); err != nil {
		return poclog.Digest{}, err
	}
	var list []change
	err := m.db.Tx(ctx, func(tx *sql.Tx) (err error) {
		if list, err = changes(tx, size); err != nil {
			return err
		}
		if err := apply(tx, list); err != nil {
			return err
		}
		if _, err := tx.Exec(`DELETE FROM pending WHERE number < ?`, int64(size)); err != nil {
			return err
		}
		return sqlite.OneRow(tx.Exec(`UPDATE state SET size = ? WHERE size = ?`, int64(size), int64(m.size)))
	})
	if err != nil {
		return poclog.Digest{}, fmt.Errorf("move the index to %d entries: %w", size, err)
	}
	// The database has it: what fails from here on is a programmer's bug, and opening the map again mends it.
	for _, c := range list {
		if err := m.set(c.name, c.value[:]); err != nil {
			return poclog.Digest{}, err
		}
	}
	m.size = size
	err = m.snap()
	return m.root, err
}

func apply(tx *sql.Tx, list []change) error {
	name, err := tx.Prepare(`INSERT INTO names (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value RETURNING id`)
	if err != nil {
		return err
	}
	defer name.Close()
	number, err := tx.Prepare(`INSERT INTO numbers VALUES (?, ?)`)
	if err != nil {
		return err
	}
	defer number.Close()
	for _, c := range list {
		if err := name.QueryRow(c.name, c.value[:]).Scan(&c.id); err != nil {
			return err
		}
		for _, n := range c.numbers {
			if _, err := number.Exec(c.id, int64(n)); err != nil {
				return err
			}
		}
	}
	return nil
}

// Lookup returns what the index of a size has of a name: a map proof, and its numbers. Of those below since only the greatest is
// there; Before is then the value before it. The root is that of the tree's size at this time, which is returned with it.
func (m *Map) Lookup(name string, since uint64) (n poclog.DossierName, size uint64, err error) {
	if err := index.ParseName(name); err != nil {
		return n, 0, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	proof, err := m.tree.Prove(mpt.Key(index.KeyOf(name)))
	if err != nil {
		return n, 0, fmt.Errorf("prove %s: %w", name, err)
	}
	n = poclog.DossierName{Name: name, Proof: proof}
	numbers, err := m.numbers(name)
	if err != nil {
		return n, 0, fmt.Errorf("read the numbers of %s: %w", name, err)
	}
	from, _ := slices.BinarySearch(numbers, since)
	if from--; from > 0 {
		before := poclog.Digest(index.Value{}.Chain(numbers[:from]))
		n.Before, numbers = &before, numbers[from:]
	}
	n.Numbers = numbers
	return n, m.size, nil
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
