package monitor

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/poclog/poclog/verify/rule"
)

// sayings are rules that ask how near to each other two entries were made. What an entry says of
// its chip by one of them another may deny at one time, and not at another.
var sayings = [2]string{"chip-in-two-places", "two-tpms-on-chassis"}

// nearer finds entries that say the same as two that were not certainly made at one time, and that
// were: the index knows the latest of a place alone, and a log that is read after another, or
// historical evidence, makes it another than the one that contradicts. They are to be compared,
// too.
func (j *judging) nearer(ctx context.Context, found []*rule.Finding) error {
	e, f := j.sides[0], j.sides[1]
	chip := e.entry().Chip()
	if !slices.ContainsFunc(found, func(f *rule.Finding) bool { return f.Subject == chip && f.Severity != rule.Contradiction }) {
		return nil
	}
	mine, err := e.tail.rows.one(e.index)
	if err != nil {
		return err
	}
	theirs, err := f.tail.rows.one(f.index)
	if err != nil {
		return err
	}
	least := j.within(mine, theirs)
	for i, id := range sayings {
		a, b := e.tail.keyer.says(id, mine), f.tail.keyer.says(id, theirs)
		if a == 0 || b == 0 || a == b {
			continue
		}
		es, err := e.tail.ofChip(ctx, mine)
		if err != nil {
			return err
		}
		fs, err := f.tail.ofChip(ctx, theirs)
		if err != nil {
			return err
		}
		if p, ok := nearest(sayingSo(es, i, a), sayingSo(fs, i, b), least); ok {
			j.more = append(j.more, p)
		}
	}
	return nil
}

// within is how near two entries have to be, in seconds, to be worth a look: nearer than a
// machine's move or a TPM's replacement takes, and than those whose rows are given, so that no two
// are looked for again and again.
func (j *judging) within(a, b *row) int64 {
	l := j.r.m.cfg.Limits
	least := int64(max(cmp.Or(l.MoveTime, rule.DefaultMoveTime), cmp.Or(l.SwapTime, rule.DefaultSwapTime)) / time.Second)
	if a.has(flagFresh) && b.has(flagFresh) {
		least = min(least, apart(a.appraised(), b.appraised()))
	}
	return least
}

func apart(a, b int64) int64 { return max(a-b, b-a) }

// A moment is when a log says that it judged an entry, and what the entry says.
type moment struct {
	at   int64 // Unix seconds
	ref  ref
	says [2]uint64 // by sayings
}

// chipRows finds a log's fresh entries by their chip. It is made when it is first needed, and then
// goes on with the log: 8 bytes an entry.
type chipRows struct {
	upTo uint64              // entries below were read
	at   map[uint64][]uint64 // indices, by the hash of realm and chip

	last uint64 // of the chip that was asked for last: pairs that follow each other often ask for the same
	list []moment
}

// ofChip lists the fresh entries of a log that are of a row's chip, by time.
func (t *tail) ofChip(ctx context.Context, of *row) ([]moment, error) {
	c := t.chips
	if c == nil {
		c = &chipRows{at: make(map[uint64][]uint64)}
		t.chips = c
	}
	if err := t.readChips(ctx); err != nil {
		return nil, err
	}
	key := t.keyer.chip(of)
	if c.last == key && len(c.list) == len(c.at[key]) {
		return c.list, nil
	}
	c.last, c.list = key, nil
	for _, index := range c.at[key] {
		r, err := t.rows.one(index)
		if err != nil {
			return nil, err
		}
		m := moment{at: r.appraised(), ref: refOf(t.l.number, index)}
		for n, id := range sayings {
			m.says[n] = t.keyer.says(id, r)
		}
		c.list = append(c.list, m)
	}
	slices.SortFunc(c.list, func(a, b moment) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.ref, b.ref)) })
	return c.list, nil
}

// readChips takes the records in that are new.
func (t *tail) readChips(ctx context.Context) error {
	c := t.chips
	return t.rows.each(ctx, c.upTo, t.l.next, func(index uint64, r *row) bool {
		if r.has(flagFresh) && r.chipOctets() != nil {
			key := t.keyer.chip(r)
			c.at[key] = append(c.at[key], index)
		}
		c.upTo = index + 1
		return true
	})
}

// sayingSo returns those of a list that say something.
func sayingSo(list []moment, saying int, what uint64) (out []moment) {
	for _, m := range list {
		if m.says[saying] == what {
			out = append(out, m)
		}
	}
	return out
}

// nearest returns the two entries of two lists between which the least time lies, if that is less
// than some seconds.
func nearest(as, bs []moment, least int64) (p pair, ok bool) {
	for len(as) > 0 && len(bs) > 0 {
		if d := apart(as[0].at, bs[0].at); d < least {
			least, p, ok = d, pairOf(as[0].ref, bs[0].ref), true
		}
		if as[0].at < bs[0].at {
			as = as[1:]
		} else {
			bs = bs[1:]
		}
	}
	return p, ok
}
