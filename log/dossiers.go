package log

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/transparency-dev/tessera/client"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/httpd"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/dossier"
	"github.com/poclog/poclog/verify/index"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// Bounds of what one answer costs: a bundle of 256 entries is read for each entry that stands
// alone.
const (
	maxAskedNames  = 64
	maxPageBundles = 256
	bundleWidth    = 256
)

// getIndex answers with the receipt of the newest index entry.
func (s *Service) getIndex(w http.ResponseWriter, r *http.Request) error {
	_, h, err := s.indexer.newest(r.Context(), nil, 0)
	if err != nil {
		return err
	}
	_, receipt, err := s.headReceipt(r.Context(), h)
	if err != nil {
		return err
	}
	return httpd.Send(w, poclog.ReceiptType, shortly, receipt)
}

// headReceipt returns the receipt of an index entry in the published tree, and that tree's size.
func (s *Service) headReceipt(ctx context.Context, h headOf) (size uint64, receipt []byte, err error) {
	checkpoint := s.published.latest()
	cp, err := tlogpolicy.ParseCheckpoint(checkpoint)
	if err != nil {
		return 0, nil, err
	}
	receipt, err = s.receipt(ctx, poclog.Receipt{Entry: h.leaf, Index: h.State.Entry, Inclusion: poclog.Inclusion{Checkpoint: checkpoint}}, nil)
	return cp.Size, receipt, err
}

// getDossier answers with a dossier (docs/format.md §17) whose first page holds as much as one
// answer may. A link of relation "next" leads to the next page, in the tree of the first.
func (s *Service) getDossier(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuestion(r.URL.Query())
	if err != nil {
		return refuse(httpd.KindMalformed, "%w", err)
	}
	done, err := s.building.Take(r.Context(), httpd.ClientOf(r.Context()))
	if err != nil {
		return refuse(httpd.KindBusy, "%w", err)
	}
	defer done() // of an answer that is written it does nothing more
	if q.tree > 0 {
		return s.getPage(w, r, q, done)
	}
	d, size, err := s.dossier(r.Context(), q)
	if err != nil {
		return err
	}
	file, err := d.Marshal()
	if err != nil {
		return err
	}
	if last := lastOf(d); last != nil && *last < greatest(d) {
		q.link(w, *last, size)
	}
	return s.sendBuilt(w, r, poclog.DossierType, shortly, file, done)
}

// shortly is how long others may keep what changes with the index.
const shortly = "public, max-age=10"

// sendBuilt sends an answer that was built in memory: whoever reads it slowly holds memory, of
// which an address has its share, and no place for building.
func (s *Service) sendBuilt(w http.ResponseWriter, r *http.Request, mediaType, cache string, file []byte, built func()) error {
	if err := httpd.Hold(r.Context(), int64(len(file))); err != nil {
		return err
	}
	built()
	return httpd.Send(w, mediaType, cache, file)
}

// getPage answers with a further page, in the tree of a size.
func (s *Service) getPage(w http.ResponseWriter, r *http.Request, q *question, built func()) error {
	size, _, _ := s.published.state()
	if q.tree > size {
		return refuse(httpd.KindMalformed, "tree of size %d: the log has size %d", q.tree, size)
	}
	names, _, err := s.indexer.newest(r.Context(), q.names, q.from)
	if err != nil {
		return err
	}
	numbers := slices.DeleteFunc(union(names), func(n uint64) bool { return n <= q.after || n >= q.index })
	page, err := s.page(r.Context(), numbers, q.tree, q.intervals)
	if err != nil {
		return err
	}
	if page == nil {
		return refuse(httpd.KindMalformed, "no page after entry %d", q.after)
	}
	file, err := page.Marshal()
	if err != nil {
		return err
	}
	if last := page.Entries[len(page.Entries)-1].Number; last < numbers[len(numbers)-1] {
		q.link(w, last, q.tree)
	}
	return s.sendBuilt(w, r, poclog.DossierPageType, httpd.Immutable, file, built)
}

// A question is what a client asks a dossier of.
type question struct {
	names     []string
	since     time.Time // everything that was logged from then on; zero: everything
	intervals bool

	// Of further pages, as the link to them says: the tree, the size of the index, from which
	// number on, and after which.
	tree, index, from, after uint64
}

func parseQuestion(v url.Values) (*question, error) {
	q := &question{names: slices.Clone(v["name"]), intervals: v.Get("intervals") == "1"}
	slices.Sort(q.names)
	q.names = slices.Compact(q.names)
	if len(q.names) == 0 || len(q.names) > maxAskedNames {
		return nil, fmt.Errorf("%d names: want 1 to %d", len(q.names), maxAskedNames)
	}
	for _, n := range q.names {
		if err := index.ParseName(n); err != nil {
			return nil, err
		}
	}
	if s := v.Get("since"); s != "" {
		t, err := time.Parse(time.RFC3339, s)
		if err != nil {
			return nil, fmt.Errorf("since: %w", err)
		}
		q.since = t
	}
	for name, n := range map[string]*uint64{"tree": &q.tree, "index": &q.index, "from": &q.from, "after": &q.after} {
		s := v.Get(name)
		if s == "" {
			continue
		}
		var err error
		if *n, err = strconv.ParseUint(s, 10, 62); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return q, nil
}

// link names the next page.
func (q *question) link(w http.ResponseWriter, after, tree uint64) {
	v := url.Values{"name": q.names}
	for name, n := range map[string]uint64{"tree": tree, "index": q.index, "from": q.from, "after": after} {
		v.Set(name, strconv.FormatUint(n, 10))
	}
	if q.intervals {
		v.Set("intervals", "1")
	}
	w.Header().Set("Link", "</v1/dossiers?"+v.Encode()+`>; rel="next"`)
}

// dossier answers a question up to its first page.
func (s *Service) dossier(ctx context.Context, q *question) (*poclog.Dossier, uint64, error) {
	d := new(poclog.Dossier)
	if !q.since.IsZero() {
		signed, err := s.store.Checkpoints.Before(ctx, q.since)
		if err != nil {
			return nil, 0, err
		}
		if cp, err := tlogpolicy.ParseCheckpoint(signed); err == nil {
			d.Since, q.from = signed, cp.Size
		}
	}
	names, h, err := s.indexer.newest(ctx, q.names, q.from)
	if err != nil {
		return nil, 0, err
	}
	q.index = h.entry.Size
	if q.from > q.index {
		d.Since, q.from = nil, 0 // nothing is newer than the index: there is nothing to leave out
		if names, h, err = s.indexer.newest(ctx, q.names, 0); err != nil {
			return nil, 0, err
		}
		q.index = h.entry.Size
	}
	d.Names, d.Checkpoint = names, h.signed
	size, receipt, err := s.headReceipt(ctx, h)
	if err != nil {
		return nil, 0, err
	}
	d.Index = receipt
	page, err := s.page(ctx, union(names), size, q.intervals)
	if err != nil {
		return nil, 0, err
	}
	if page != nil {
		d.Pages = []poclog.DossierPage{*page}
	}
	return d, size, nil
}

// union returns the numbers of all names, ascending, each once.
func union(names []poclog.DossierName) []uint64 {
	all := make(map[uint64]bool)
	for _, n := range names {
		for _, x := range n.Numbers {
			all[x] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

func greatest(d *poclog.Dossier) (most uint64) {
	for _, n := range d.Names {
		if len(n.Numbers) > 0 {
			most = max(most, n.Numbers[len(n.Numbers)-1])
		}
	}
	return most
}

func lastOf(d *poclog.Dossier) *uint64 {
	if len(d.Pages) == 0 {
		return nil
	}
	entries := d.Pages[len(d.Pages)-1].Entries
	return &entries[len(entries)-1].Number
}

// page returns the first of some entries, as many as one answer may have, with their proof in the
// tree of a size; nil where there are none.
func (s *Service) page(ctx context.Context, numbers []uint64, size uint64, intervals bool) (*poclog.DossierPage, error) {
	p := new(poclog.DossierPage)
	var have [][]byte // the leaves of a bundle
	bundle, bundles := ^uint64(0), 0
	for _, n := range numbers {
		if at := n / bundleWidth; at != bundle {
			if bundles++; bundles > maxPageBundles {
				break
			}
			var err error
			if have, err = s.entries(ctx, at*bundleWidth, min(bundleWidth, size-at*bundleWidth)); err != nil {
				return nil, err
			}
			bundle = at
		}
		p.Entries = append(p.Entries, poclog.DossierEntry{Number: n, Leaf: have[n%bundleWidth]})
		if len(p.Entries) == poclog.MaxPage {
			break
		}
	}
	if len(p.Entries) == 0 {
		return nil, nil
	}
	var err error
	tiles := newProofTiles(s.tree.ReadTile) // of their own: nobody checks this proof here
	root := func(at, n uint64) ([sha256.Size]byte, error) { return tiles.root(ctx, at, n, size) }
	if p.Proof, err = dossier.ProofOf(size, numbers[:len(p.Entries)], root); err != nil || !intervals {
		return p, err
	}
	return p, s.intervals(ctx, p, size)
}

// intervals adds the checkpoints that bound when the page's evidence was made, as far as the log
// has them.
func (s *Service) intervals(ctx context.Context, p *poclog.DossierPage, size uint64) error {
	proofs, err := client.NewProofBuilder(ctx, size, s.tree.ReadTile)
	if err != nil {
		return fmt.Errorf("prove checkpoints: %w", err)
	}
	at := make(map[poclog.Digest]uint32)
	refer := func(signed []byte) (uint32, error) {
		digest := poclog.Sum(signed)
		cp, err := tlogpolicy.ParseCheckpoint(signed)
		if n := at[digest]; n != 0 || err != nil {
			return n, nil // what does not parse is no checkpoint: the interval stays unknown
		}
		c := poclog.DossierCheckpoint{Checkpoint: signed}
		if cp.Origin == s.origin && cp.Size > 0 && cp.Size < size {
			path, err := proofs.ConsistencyProof(ctx, cp.Size, size)
			if err != nil {
				return 0, fmt.Errorf("prove the checkpoint of size %d: %w", cp.Size, err)
			}
			c.Consistency = verify.Hashes(path)
		}
		p.Checkpoints = append(p.Checkpoints, c)
		at[digest] = uint32(len(p.Checkpoints))
		return at[digest], nil
	}
	for i := range p.Entries {
		e := &p.Entries[i]
		if signed := s.challengeOf(ctx, e.Leaf); signed != nil {
			if e.Challenge, err = refer(signed); err != nil {
				return err
			}
		}
		signed, err := s.store.Checkpoints.Covering(ctx, e.Number)
		if err != nil {
			return err
		}
		if cp, err := tlogpolicy.ParseCheckpoint(signed); err == nil && cp.Size <= size {
			if e.First, err = refer(signed); err != nil {
				return err
			}
		}
	}
	return nil
}

// challengeOf returns the challenge's checkpoint of an entry, or nil where there is none or the log
// cannot show it.
func (s *Service) challengeOf(ctx context.Context, leaf []byte) []byte {
	e, err := poclog.ParseEntry(leaf)
	if err != nil || e.Fresh == nil {
		return nil
	}
	if list, err := s.withheld(); err != nil || list[e.Evidence.Bundle.SHA256] {
		return nil
	}
	checkpoint, err := s.coveredBy(ctx, e.Evidence.Bundle.SHA256)
	if err != nil {
		return nil
	}
	return checkpoint
}
