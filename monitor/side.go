package monitor

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/verify/rule"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// maxCached bounds the entry bundles that are kept while pairs are compared, in bytes.
const maxCached = 32 << 20

// leafCache keeps entry bundles, for pairs that follow each other often share one.
type leafCache struct {
	bundles map[ref][][]byte
	size    int
}

// leaf fetches an entry, which has the leaf hash that was kept of it.
func (r *run) leaf(ctx context.Context, t *tail, index uint64, want [sha256.Size]byte) ([]byte, error) {
	key := refOf(t.l.number, index/bundleWidth)
	entries, ok := r.cache.bundles[key]
	if !ok || index%bundleWidth >= uint64(len(entries)) {
		var err error
		if entries, err = t.cl.EntryBundle(ctx, index/bundleWidth, t.l.checkpoint.Size); err != nil {
			return nil, err
		}
		r.cache.keep(key, entries)
	}
	leaf := entries[index%bundleWidth]
	if receipt.LeafHash(leaf) != want {
		delete(r.cache.bundles, key)
		return nil, fmt.Errorf("entry %d is not the one that was there before: %w", index, client.ErrWrongTiles)
	}
	return leaf, nil
}

func (c *leafCache) keep(key ref, entries [][]byte) {
	size := 0
	for _, e := range entries {
		size += len(e)
	}
	if c.bundles == nil || c.size+size > maxCached {
		c.bundles, c.size = make(map[ref][][]byte), 0
	}
	c.bundles[key] = entries
	c.size += size
}

// A side is an entry on its way to a rule, with what is known of it.
type side struct {
	tail      *tail
	index     uint64
	leaf      []byte
	malformed error // the leaf is of a known kind and not in its form
	claim     rule.Claim

	first     *client.Checkpoint // the tightest that covers the entry
	bundle    []byte             // the bundle's file, once it was fetched
	challenge []byte             // the signed checkpoint that it answers
	missing   error              // why the log does not give the bundle or what else the entry names
	hasty     bool               // what the log does not give now is missing: it was asked often enough
}

// entry is nil for what is no proof.
func (s *side) entry() *poclog.Entry { return s.claim.Entry }

func (s *side) ref() EntryRef { return EntryRef{Origin: s.tail.l.origin, Index: s.index} }

// side fetches an entry, holds it to what was kept of it, and its challenge to the tree that it is
// said to be of.
func (r *run) side(ctx context.Context, of ref) (*side, error) {
	t := r.tail(of.log())
	if t == nil {
		return nil, fmt.Errorf("entry %d of log number %d: %w", of.index(), of.log(), errNoLog)
	}
	s := &side{tail: t, index: of.index(), claim: rule.Claim{Origin: t.l.origin, Index: of.index()}}
	if s.index >= t.l.next {
		// The process was killed after another log's entry was compared with this one, and before
		// this one was durable.
		return nil, &logError{t, fmt.Errorf("entry %d was not read yet", s.index)}
	}
	row, err := t.rows.one(s.index)
	if err != nil {
		return nil, err
	}
	if s.leaf, err = r.leaf(ctx, t, s.index, row.digest(offLeaf)); err != nil {
		return nil, &logError{t, err}
	}
	leaf, err := poclog.ParseLeaf(s.leaf)
	if err != nil {
		s.malformed = err
		return s, nil
	}
	s.claim.Entry = leaf.Proof
	if s.claim.Entry != nil {
		s.claim.Rooted, err = r.rooted(s.claim.Entry.Fresh)
	}
	return s, err
}

// A folderError is an error of the folder: nothing can go on.
type folderError struct{ error }

func (e *folderError) Unwrap() error { return e.error }

// A logError is what a log answered when it was asked for something of the past.
type logError struct {
	tail *tail
	error
}

func (e *logError) Unwrap() error { return e.error }

// rooted reports whether the root of a challenge is one that the log had.
func (r *run) rooted(f *poclog.Fresh) (bool, error) {
	if f == nil {
		return false, nil
	}
	of := r.tailOf(f.Origin)
	if of == nil || f.Size > of.tree.size() {
		return false, nil
	}
	root, err := of.tree.root(f.Size, of.leaves)
	return root == f.Root, err
}

// fetchBundle fetches an entry's bundle, for the challenge in it. What the log does not give is
// remembered as missing; an error is one that may be gone the next time.
func (s *side) fetchBundle(ctx context.Context) error {
	if s.entry() == nil || s.bundle != nil || s.missing != nil {
		return nil
	}
	file, err := s.fetch(ctx, s.entry().Evidence.Bundle)
	if err != nil || s.missing != nil {
		return err
	}
	s.bundle = file
	b, err := poclog.ParseBundle(file)
	if err != nil {
		return nil // an entry that no evidence gives; repeating its appraisal shows it
	}
	if c, err := b.Challenge(); err == nil && s.entry().Fresh != nil && poclog.Sum(c.Checkpoint) == s.entry().Fresh.Checkpoint {
		s.challenge = c.Checkpoint
	}
	return nil
}

// fetch fetches a file that the entry names.
func (s *side) fetch(ctx context.Context, blob poclog.Blob) ([]byte, error) {
	if blob == (poclog.Blob{}) {
		return nil, nil
	}
	file, err := s.tail.cl.Evidence(ctx, blob)
	if err != nil && client.Temporary(err) && !s.hasty {
		return nil, &logError{s.tail, err}
	}
	if err != nil {
		s.missing = err
	}
	return file, nil
}

// bound finds when a side's evidence was made, as tightly as the checkpoints that this monitor
// knows can show. Another side's challenge is one.
func (s *side) bound(ctx context.Context, other *side) error {
	if at := s.tail.r.tailOf(s.challengeOrigin()); at != nil && len(s.challenge) > 0 {
		if v, err := at.view(s.challenge); err == nil && v.Satisfies(at.l.policy.Quorum()) {
			s.claim.T1, _ = v.NotBefore()
		}
	}
	kept, err := s.tail.r.m.state.covering(context.WithoutCancel(ctx), s.tail.l.number, s.index)
	if err != nil {
		return &folderError{err}
	}
	signed := [][]byte{s.tail.l.checkpoint.Signed, kept}
	if other != nil && len(other.challenge) > 0 && other.claim.Rooted {
		signed = append(signed, other.challenge)
	}
	for _, cp := range signed {
		s.cover(cp)
	}
	return nil
}

func (s *side) challengeOrigin() string {
	if s.entry() == nil || s.entry().Fresh == nil {
		return ""
	}
	return s.entry().Fresh.Origin
}

// cover takes a checkpoint that covers the entry, if it shows an earlier time than those before.
func (s *side) cover(signed []byte) {
	v, err := s.tail.view(signed)
	if err != nil || v == nil || v.Origin != s.tail.l.origin || v.Size <= s.index {
		return
	}
	at, known := v.NotAfter()
	known = known && v.Satisfies(s.tail.l.policy.Quorum())
	earlier := known && (s.claim.T2.IsZero() || at.Before(s.claim.T2))
	if s.first == nil || earlier {
		s.first = checkpointOf(v, signed)
	}
	if earlier {
		s.claim.T2 = at
	}
}

// maxViews is how many opened checkpoints are kept while pairs are compared.
const maxViews = 1 << 12

// view opens a checkpoint of the log, once: many pairs name the same ones.
func (t *tail) view(signed []byte) (*tlogpolicy.View, error) {
	if len(signed) == 0 {
		return nil, nil
	}
	sum := poclog.Sum(signed)
	if v, ok := t.views[sum]; ok {
		return v, nil
	}
	v, err := t.l.policy.OpenLogged(signed)
	if err != nil {
		return nil, err
	}
	if t.views == nil || len(t.views) >= maxViews {
		t.views = make(map[poclog.Digest]*tlogpolicy.View)
	}
	t.views[sum] = v
	return v, nil
}

func checkpointOf(v *tlogpolicy.View, signed []byte) *client.Checkpoint {
	return &client.Checkpoint{Tree: client.Tree{Origin: v.Origin, Size: v.Size, Root: v.Root}, Signed: signed, View: v}
}

// tightenRows is how far ahead an entry is sought whose challenge covers another: some hours of a
// busy log.
const tightenRows = 1 << 14

// tighten finds the next entry of the log whose challenge is made of a tree that covers this one:
// witnesses had signed that by then, and an entry that was read long after it came may have no
// tighter bound.
func (s *side) tighten(ctx context.Context) (err error) {
	own := s.tail.terms.find(s.tail.l.origin)
	read := s.tail.rows.each(ctx, s.index+1, min(s.tail.l.next, s.index+tightenRows), func(_ uint64, row *row) bool {
		if !row.has(flagFresh) || row.u64(offFreshSize) <= s.index || row.term(offOrigin) != own {
			return true
		}
		err = s.coverBy(ctx, row)
		return false
	})
	return errors.Join(read, err)
}

// coverBy takes the challenge in the evidence of another entry of the log for a checkpoint that
// covers this one, if the log's tree had its root.
func (s *side) coverBy(ctx context.Context, row *row) error {
	by := side{tail: s.tail, hasty: s.hasty}
	file, err := by.fetch(ctx, poclog.Blob{SHA256: row.digest(offBundle)})
	if err != nil || by.missing != nil {
		return err
	}
	b, err := poclog.ParseBundle(file)
	if err != nil {
		return nil
	}
	c, err := b.Challenge()
	if err != nil {
		return nil
	}
	v, err := s.tail.view(c.Checkpoint)
	if err != nil || v == nil {
		return nil
	}
	rooted, err := s.tail.r.rooted(&poclog.Fresh{Origin: v.Origin, Size: v.Size, Root: v.Root})
	if rooted {
		s.cover(c.Checkpoint)
	}
	return err
}
