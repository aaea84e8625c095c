package monitor

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"os"
	"slices"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/internal/sqlite"
	"github.com/poclog/poclog/verify"
)

// load opens the records of a log and takes them into tree and index. Records that are not the
// cursor's are refused.
func (r *run) load(ctx context.Context, l *logState) (*tail, error) {
	t := &tail{r: r}
	if err := t.renew(l); err != nil {
		return nil, err
	}
	var err error
	if t.terms, err = r.m.state.terms(ctx, l.number); err != nil {
		return nil, err
	}
	t.keyer = newKeyer(r.index, t.terms, l.origin)
	if t.rows, err = openRows(r.m.dir, l.number, l.next, os.O_RDWR); err != nil {
		return nil, err
	}
	if err := errors.Join(t.rows.checkFresh(l.next), t.replay(ctx)); err != nil {
		return nil, errors.Join(err, t.rows.close())
	}
	return t, nil
}

// replay takes the records into tree and index, as the entries once came.
func (t *tail) replay(ctx context.Context) error {
	none := func(ref) {}
	err := t.rows.each(ctx, 0, t.l.next, func(index uint64, row *row) bool {
		t.tree.add(row.digest(offLeaf))
		t.inOrder(row)
		t.noteIndex(row, index)
		t.enterFacets(row, arrival{log: t.l.number, index: index}, none)
		return true
	})
	if err != nil {
		return err
	}
	if cp := t.l.checkpoint; cp != nil && t.l.next == cp.Size {
		return t.rooted(cp.Tree)
	}
	return nil
}

// rooted holds the records to the checkpoint under which they were proven.
func (t *tail) rooted(tree client.Tree) error {
	root, err := t.tree.root(tree.Size, t.leaves)
	if err != nil {
		return err
	}
	if root != tree.Root {
		return fmt.Errorf("the records of log %q do not hash to the checkpoint of size %d that is kept beside them", t.l.origin, tree.Size)
	}
	return nil
}

// leaves reads leaf hashes from the records.
func (t *tail) leaves(from uint64, dst [][sha256.Size]byte) error {
	buf := newBlock(len(dst))
	if err := t.rows.read(from, buf); err != nil {
		return err
	}
	for i := range dst {
		dst[i] = buf.row(i).digest(offLeaf)
	}
	return nil
}

// renew takes what commands may have changed of a log: where it is, its policy, and whether it is
// followed.
func (t *tail) renew(l *logState) error {
	if t.l != nil && t.l.url == l.url && t.l.policyText == l.policyText {
		t.l.removed = l.removed
		return nil
	}
	cl, err := t.r.m.client(l.url, l.policy)
	if err != nil {
		return fmt.Errorf("log %q: %w", l.origin, err)
	}
	if t.l == nil {
		t.l = l
	}
	t.views = nil
	t.cl, t.l.url, t.l.policy, t.l.policyText, t.l.removed = cl, l.url, l.policy, l.policyText, l.removed
	return nil
}

// maxPause bounds the pause after a look that failed.
const maxPause = 5 * time.Minute

// visit looks at the log once and says what was wrong with it. An error is the folder's.
func (t *tail) visit(ctx context.Context) error {
	t.began, t.busy = t.r.m.cfg.Clock(), false
	net, cancel := t.r.limited(ctx)
	defer cancel()
	trouble, err := t.look(ctx, net)
	if err != nil || ctx.Err() != nil {
		return err
	}
	if err := t.report(ctx, trouble); err != nil {
		return err
	}
	if trouble == nil {
		if trouble, err = t.checkIndexes(ctx, net); err != nil || ctx.Err() != nil {
			return err
		}
	}
	t.pause = min(2*t.pause+t.r.m.cfg.Interval, maxPause)
	if trouble == nil {
		t.pause = 0
	}
	t.due = t.r.m.cfg.Clock().Add(t.pause)
	t.r.mu.Lock()
	defer t.r.mu.Unlock()
	if delete(t.r.out.Trouble, t.l.origin); trouble != nil {
		t.r.out.Trouble[t.l.origin] = trouble
		t.r.m.cfg.Logger.Warn("the log cannot be followed now", "origin", t.l.origin, "next", t.l.next, "error", trouble)
	}
	return nil
}

// look takes the log's newest checkpoint and reads the entries that are new. What was begun before
// is finished first, so that entries are seen under the checkpoints under which they would have
// been. What is not done when net ends is done the next time. Trouble is the log's, an error the
// folder's.
func (t *tail) look(ctx, net context.Context) (trouble, err error) {
	if cp := t.l.checkpoint; cp != nil && t.l.next < cp.Size {
		begun := *cp
		if begun.View, trouble = t.l.policy.OpenLogged(cp.Signed); trouble != nil {
			return trouble, nil
		}
		if trouble, err = t.scan(ctx, net, &begun); trouble != nil || err != nil || t.l.next < begun.Size {
			return trouble, err
		}
	}
	cp, trouble := t.cl.Checkpoint(net)
	if trouble != nil {
		return &noCheckpoint{trouble}, nil
	}
	if last := t.l.checkpoint; last != nil {
		if trouble := t.cl.Consistent(net, last, cp); trouble != nil {
			return trouble, nil
		}
		if cp.Size < last.Size {
			return t.shrunk(cp), nil
		}
	}
	if err := t.adopt(ctx, cp); err != nil {
		return nil, err
	}
	return t.scan(ctx, net, cp)
}

// seen is when a checkpoint's quorum saw it, or else now.
func (t *tail) seen(cp *client.Checkpoint) time.Time {
	if at, ok := cp.View.NotAfter(); ok {
		return at
	}
	return t.r.m.cfg.Clock()
}

// adopt makes a checkpoint the one that every later one must extend. It is durable once adopt
// returns.
func (t *tail) adopt(ctx context.Context, cp *client.Checkpoint) error {
	looked, ok := cp.View.NotBefore()
	if !ok {
		looked = t.r.m.cfg.Clock()
	}
	if err := t.r.m.state.adopt(ctx, t.l, cp, looked, t.seen(cp)); err != nil {
		return err
	}
	t.l.checkpoint, t.l.looked = cp, looked
	return nil
}

// A batch is records that are not yet durable, and the pairs that they make.
type batch struct {
	of    *tail
	first uint64 // index of the first record
	rows  block
	n     int
	pairs []pair
	terms []string // of the log, as far as the records have them

	stated []statedLeaf
}

// reset empties a batch.
func (b *batch) reset() {
	if b.rows == nil {
		b.rows = newBlock(batchRows)
	}
	b.n, b.pairs, b.stated = 0, b.pairs[:0], b.stated[:0]
}

// A pair is two entries that are to be compared, the first in the order of logs and indices; or one
// that is to be judged alone, twice.
type pair struct{ a, b ref }

func pairOf(a, b ref) pair {
	if b < a {
		a, b = b, a
	}
	return pair{a, b}
}

// scan reads entries up to a checkpoint's size, or until net ends. What was read before trouble
// came is kept.
func (t *tail) scan(ctx, net context.Context, cp *client.Checkpoint) (trouble, err error) {
	begun := t.l.next
	t.filling.reset()
	defer t.written() // whatever ends the scan
	s := scanning{seen: t.seen(cp).Unix(), after: t.byOrigin()}
	if at, ok := cp.View.NotAfter(); ok {
		s.latest = at.Add(verify.MaxSkew).Unix()
	}
	for b, problem := range t.projected(net, cp.Tree, begun) {
		if trouble = problem; trouble != nil {
			break
		}
		t.take(b, &s)
		if t.filling.n > batchRows-bundleWidth {
			if err := t.write(ctx); err != nil {
				return nil, err
			}
		}
		if tell := t.r.opt.Progress; tell != nil {
			tell(Progress{Origin: t.l.origin, Done: b.First + uint64(len(b.Entries)) - begun, Total: cp.Size - begun})
		}
	}
	if err := errors.Join(t.write(ctx), t.written()); err != nil {
		return trouble, err
	}
	if trouble != nil && net.Err() != nil && t.l.next > begun {
		t.busy = t.l.next-begun >= uint64(batchRows)
		return nil, nil // there is more than can be read at once: others are looked at between
	}
	if trouble != nil {
		return trouble, nil
	}
	return nil, t.rooted(cp.Tree)
}

// A projected is a bundle with what was read of each leaf.
type projected struct {
	client.Bundle
	kinds       [bundleWidth]Kind
	projections [bundleWidth]poclog.Projection
}

// projected reads the leaves of a tree from an index on, some bundles ahead of whoever takes them. A
// bundle is good until the next one is asked for.
func (t *tail) projected(net context.Context, tree client.Tree, from uint64) iter.Seq2[*projected, error] {
	return func(yield func(*projected, error) bool) {
		ctx, cancel := context.WithCancel(net)
		free, ready := make(chan *projected, 4), make(chan *projected, 2)
		for range cap(free) {
			free <- new(projected)
		}
		var trouble error // of the reader; known once ready is closed
		go func() {
			defer close(ready)
			for b, err := range t.cl.Bundles(ctx, tree, client.Range{From: from, To: tree.Size}) {
				if trouble = err; err != nil {
					return
				}
				p := <-free
				p.Bundle = b
				for i, leaf := range b.Entries {
					p.kinds[i] = kindOf(&p.projections[i], leaf)
				}
				ready <- p
			}
		}()
		defer func() {
			cancel()
			for p := range ready { // until the reader has ended
				free <- p
			}
		}()
		for p := range ready {
			if !yield(p, nil) {
				return
			}
			p.Release()
			free <- p
		}
		if trouble != nil {
			yield(nil, trouble)
		}
	}
}

// scanning is what stays the same while entries are read up to one checkpoint.
type scanning struct {
	seen   int64          // Unix seconds
	latest int64          // an entry that says it was judged later is out of its time; 0: nobody knows
	after  map[term]*tail // all that are followed, by the terms of their origins
}

// take makes records of a bundle's entries, and finds what they are to be compared with.
func (t *tail) take(b *projected, s *scanning) {
	t.r.mu.Lock()
	defer t.r.mu.Unlock()
	if t.filling.n == 0 {
		t.filling.of, t.filling.first = t, b.First
	}
	for i, hash := range b.Hashes {
		index := b.First + uint64(i)
		row := t.filling.rows.row(t.filling.n)
		row.fill(b.kinds[i], &b.projections[i], hash, s.seen, t.terms)
		row.seal(index)
		if b.kinds[i] == KindStatement {
			t.filling.stated = append(t.filling.stated, statedLeaf{index, s.seen, bytes.Clone(b.Entries[i])})
		}
		t.tree.add(hash)
		t.filling.n++
		t.enter(row, index, s)
	}
}

func kindOf(p *poclog.Projection, leaf []byte) Kind {
	switch kind, err := p.Read(leaf); {
	case err != nil:
		return KindMalformed
	case kind == poclog.LeafProof:
		return KindProof
	case kind == poclog.LeafConfig:
		return KindConfig
	case kind == poclog.LeafIndex:
		return KindIndex
	case kind == poclog.LeafStatement:
		return KindStatement
	}
	return KindUnknown
}

// enter takes a record into the index.
func (t *tail) enter(row *row, index uint64, s *scanning) {
	t.noteIndex(row, index)
	me := refOf(t.l.number, index)
	a := arrival{log: t.l.number, index: index}
	if row.has(flagFresh) {
		if of := s.after[row.term(offOrigin)]; of != nil {
			a.after, a.treeSize = of.l.number, row.u64(offFreshSize)
		}
	}
	alone := !t.inOrder(row) || row.kind() == KindMalformed || row.has(flagMore) || a.after == t.l.number && a.treeSize > index ||
		row.has(flagFresh) && s.latest != 0 && row.appraised() > s.latest
	if alone {
		t.filling.pairs = append(t.filling.pairs, pair{me, me})
	}
	t.enterFacets(row, a, func(other ref) { t.filling.pairs = append(t.filling.pairs, pairOf(me, other)) })
}

func (t *tail) enterFacets(row *row, a arrival, found func(ref)) {
	facets := t.keyer.facets(row)
	t.r.index.warm(facets)
	for _, f := range facets {
		t.r.index.add(a, f, found)
	}
}

// orderSlack is how much earlier than those before it a log may say that it judged an entry: some
// logs have evidence wait.
const orderSlack = 24 * time.Hour

// inOrder reports whether a log says of a fresh entry that it judged it after those before, as logs
// do. Whether two entries are worth a look is decided by these times ([run.decide]), so that one
// which stands out is looked at.
func (t *tail) inOrder(row *row) bool {
	if !row.has(flagFresh) {
		return true
	}
	at := row.appraised()
	ok := at >= t.newest-int64(orderSlack/time.Second)
	t.newest = max(t.newest, at)
	return ok
}

// byOrigin returns all logs, by the terms that their origins have in the records of this one.
func (t *tail) byOrigin() map[term]*tail {
	out := make(map[term]*tail)
	for _, of := range t.r.logs {
		out[t.terms.find(of.l.origin)] = of
	}
	return out
}

// write has the batch made durable while the next one is filled. It waits for the one before.
func (t *tail) write(ctx context.Context) error {
	if err := t.written(); err != nil || t.filling.n == 0 {
		return err
	}
	t.filling, t.writing = t.writing, t.filling
	t.filling.reset()
	t.writing.terms = t.terms.texts
	done := make(chan error, 1)
	t.done = done
	go func() { done <- t.commit(ctx, &t.writing) }()
	return nil
}

// written waits until the batch is durable that is being written, if there is one.
func (t *tail) written() (err error) {
	if t.done != nil {
		err, t.done = <-t.done, nil
	}
	return err
}

// commit makes a batch durable: records first, then in one transaction the cursor and what the
// entries are to be compared with, or what that gave where the records decide it.
func (t *tail) commit(ctx context.Context, b *batch) error {
	if err := t.rows.write(b.first, b.rows[:b.n*rowSize]); err != nil {
		return err
	}
	decided, pairs, err := t.decide(b)
	if err != nil {
		return err
	}
	next := b.first + uint64(b.n)
	err = t.r.m.state.tx(ctx, fmt.Sprintf("record entries of %q", t.l.origin), func(tx *sql.Tx) error {
		if err := t.terms.save(ctx, tx, t.l.number, b.terms); err != nil {
			return err
		}
		for _, j := range decided {
			if err := t.r.addAlerts(ctx, tx, j.alerts); err != nil {
				return err
			}
		}
		for _, p := range pairs {
			if err := t.r.m.state.addPair(tx, p); err != nil {
				return err
			}
		}
		if err := addStated(ctx, tx, t.l.number, b.stated); err != nil {
			return err
		}
		res, err := tx.ExecContext(ctx, "UPDATE log SET next = ? WHERE number = ? AND next = ?", int64(next), t.l.number, int64(b.first))
		return sqlite.OneRow(res, err)
	})
	if err != nil {
		return err
	}
	t.r.mu.Lock()
	defer t.r.mu.Unlock()
	t.terms.saved, t.l.next = len(b.terms), next
	return nil
}

// decide judges the pairs of a batch by the records, and returns those that this does not decide.
func (t *tail) decide(b *batch) (decided []*judging, rest []pair, err error) {
	t.r.mu.Lock()
	defer t.r.mu.Unlock()
	slices.SortFunc(b.pairs, func(p, q pair) int { return cmp.Or(cmp.Compare(p.b, q.b), cmp.Compare(p.a, q.a)) })
	for _, p := range slices.Compact(b.pairs) {
		j, err := t.r.decide(pending{pair: p}, b)
		if err != nil {
			return nil, nil, err
		}
		if j == nil {
			rest = append(rest, p)
		} else if len(j.alerts) > 0 {
			decided = append(decided, j)
		}
	}
	return decided, rest, nil
}
