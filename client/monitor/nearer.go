package monitor

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/poclog/poclog/verify/rule"
)

// A saying is what a row says of its chip that another may deny at one time and not at another; 0: nothing.
type saying func(*tail, *row) uint64

// sayings are those of the rules that ask how near to each other two entries were made.
var sayings = []saying{
	func(t *tail, r *row) uint64 {
		if !r.proven() || !r.has(flagProviderAuthentic|flagRegionAuthentic|flagZoneAuthentic) {
			return 0
		}
		return t.keyer.place(r)
	},
	func(t *tail, r *row) uint64 {
		if !r.proven() || !r.isMetal() || !r.has(flagEK) {
			return 0
		}
		return t.keyer.value(r[offEK : offEK+32])
	},
}

// nearer finds entries that say the same as two that were not certainly made at one time, and that were: the index knows the latest of a place
// alone, and a log that is read after another, or historical evidence, makes it another than the one that contradicts. They are to be compared, too.
func (j *judging) nearer(ctx context.Context, found []*rule.Finding) error {
	e, f := j.sides[0], j.sides[1]
	chip := e.entry().Chip()
	if !slices.ContainsFunc(found, func(f *rule.Finding) bool { return f.Subject == chip && f.Severity != rule.Contradiction }) {
		return nil
	}
	rows := newBlock(2)
	for i, s := range j.sides {
		if err := s.tail.rows.read(s.index, rows[i*rowSize:(i+1)*rowSize]); err != nil {
			return &folderError{err}
		}
	}
	least := j.within(rows.row(0), rows.row(1))
	for _, says := range sayings {
		a, b := says(e.tail, rows.row(0)), says(f.tail, rows.row(1))
		if a == 0 || b == 0 || a == b {
			continue
		}
		as, err := e.tail.sayingSo(ctx, rows.row(0), says, a)
		if err != nil {
			return err
		}
		bs, err := f.tail.sayingSo(ctx, rows.row(1), says, b)
		if err != nil {
			return err
		}
		if p, ok := nearest(as, bs, least); ok {
			j.more = append(j.more, p)
		}
	}
	return nil
}

// within is how near two entries have to be, in seconds, to be worth a look: nearer than a machine's move or a TPM's replacement takes, and than those
// whose rows are given, so that no two are looked for again and again.
func (j *judging) within(a, b *row) int64 {
	l := j.r.m.cfg.Limits
	least := int64(max(cmp.Or(l.MoveTime, rule.DefaultMoveTime), cmp.Or(l.SwapTime, rule.DefaultSwapTime)) / time.Second)
	if a.has(flagFresh) && b.has(flagFresh) {
		least = min(least, apart(a.appraised(), b.appraised()))
	}
	return least
}

func apart(a, b int64) int64 { return max(a-b, b-a) }

// A moment is when a log says that it judged an entry.
type moment struct {
	at  int64 // Unix seconds
	ref ref
}

// sayingSo lists the fresh entries of a log that say something of the chip of a row, by time.
func (t *tail) sayingSo(ctx context.Context, of *row, says saying, what uint64) (list []moment, err error) {
	buf := newBlock(maxRead)
	for at := uint64(0); at < t.l.next; {
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		part := buf[:min(maxRead, t.l.next-at)*rowSize]
		if err := t.rows.read(at, part); err != nil {
			return nil, &folderError{err}
		}
		for i := range part.len() {
			r := part.row(i)
			if r.has(flagFresh) && r[offRealm] == of[offRealm] && slices.Equal(r.chipOctets(), of.chipOctets()) && says(t, r) == what {
				list = append(list, moment{r.appraised(), refOf(t.l.number, at+uint64(i))})
			}
		}
		at += uint64(part.len())
	}
	slices.SortFunc(list, func(a, b moment) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.ref, b.ref)) })
	return list, nil
}

// nearest returns the two entries of two lists between which the least time lies, if that is less than some seconds.
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
