package monitor

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"slices"

	"github.com/poclog/poclog/internal/sqlite"
)

// rootRows is how many records' challenges are held to the trees at once.
const rootRows = 1 << 15

// A demand is a root that an entry's challenge names.
type demand struct {
	tail  *tail // whose root it is said to be
	size  uint64
	root  [sha256.Size]byte
	index uint64 // of the entry
}

// checkRoots holds the challenges of entries that were not looked at yet to the trees of the logs
// that they name: a root that a tree never had is looked into with the entry's evidence. It asks no
// log, and what it did is durable chunk by chunk.
func (t *tail) checkRoots(ctx context.Context) error {
	for t.l.roots < t.l.next {
		to := min(t.l.next, t.l.roots+rootRows)
		demands, err := t.demands(ctx, t.l.roots, to)
		if err != nil {
			return err
		}
		wrong, err := meet(demands)
		if err != nil {
			return err
		}
		err = t.r.m.state.tx(ctx, fmt.Sprintf("record the challenges of %q", t.l.origin), func(tx *sql.Tx) error {
			for _, index := range wrong {
				me := refOf(t.l.number, index)
				if err := t.r.m.state.addPair(tx, pair{me, me}); err != nil {
					return err
				}
			}
			res, err := tx.ExecContext(ctx, "UPDATE log SET roots = ? WHERE number = ? AND roots = ?", int64(to), t.l.number, int64(t.l.roots))
			return sqlite.OneRow(res, err)
		})
		if err != nil {
			return err
		}
		t.l.roots = to
	}
	return nil
}

// demands reads what roots entries name.
func (t *tail) demands(ctx context.Context, from, to uint64) (list []demand, err error) {
	logs := t.byOrigin()
	err = t.rows.each(ctx, from, to, func(index uint64, row *row) bool {
		if of := logs[row.term(offOrigin)]; of != nil && row.has(flagFresh) {
			list = append(list, demand{of, row.u64(offFreshSize), row.digest(offFreshRoot), index})
		}
		return true
	})
	return list, err
}

// meet returns the entries whose challenge names another root than the log had. Sizes that it does
// not have yet are wrong, too, as far as is known now.
func meet(demands []demand) (wrong []uint64, err error) {
	slices.SortFunc(demands, func(a, b demand) int {
		return cmp.Or(cmp.Compare(a.tail.l.number, b.tail.l.number), cmp.Compare(a.size, b.size))
	})
	for len(demands) > 0 {
		of := demands[0].tail
		end := slices.IndexFunc(demands, func(d demand) bool { return d.tail != of })
		if end < 0 {
			end = len(demands)
		}
		bad, err := of.meet(demands[:end])
		if err != nil {
			return nil, err
		}
		wrong, demands = append(wrong, bad...), demands[end:]
	}
	slices.Sort(wrong)
	return wrong, nil
}

// meet holds demands in ascending order of sizes to the log's tree.
func (t *tail) meet(demands []demand) (wrong []uint64, err error) {
	have := t.tree.size()
	var sizes []uint64
	for _, d := range demands {
		if d.size > have {
			wrong = append(wrong, d.index)
		} else {
			sizes = append(sizes, d.size)
		}
	}
	i := 0
	err = t.tree.roots(sizes, t.leaves, func(_ uint64, root [sha256.Size]byte) error {
		if demands[i].root != root {
			wrong = append(wrong, demands[i].index)
		}
		i++
		return nil
	})
	return wrong, err
}
