package log

import (
	"context"
	"fmt"
	"sync"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/client"

	"github.com/poclog/poclog"
)

// An index finds the entry of evidence that was submitted before: 24 bytes an entry and quote.
type index struct {
	mu   sync.Mutex // guards the maps
	both map[[16]byte]uint64
	last *poclog.Config // the newest config entry
	size uint64
}

func newIndex() *index { return &index{both: make(map[[16]byte]uint64)} }

// keyOf is the key of a quote with a boot, or of the quote alone.
func keyOf(quote poclog.Identity, boot *poclog.Digest) [16]byte {
	text := string(quote)
	if boot != nil {
		text += boot.String()
	}
	sum := poclog.Sum([]byte(text))
	return [16]byte(sum[:16])
}

// add notes a leaf. The first entry of a quote answers for its parts.
func (x *index) add(number uint64, leaf poclog.Leaf) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.size = max(x.size, number+1)
	if leaf.Config != nil {
		x.last = leaf.Config
	}
	if e := leaf.Proof; e != nil {
		for _, key := range [][16]byte{keyOf(e.Quote, e.Boot), keyOf(e.Quote, nil)} {
			if old, ok := x.both[key]; !ok || number < old {
				x.both[key] = number
			}
		}
	}
}

// find returns the number of the entry that has an entry's evidence, or more.
func (x *index) find(e *poclog.Entry) (uint64, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	n, ok := x.both[keyOf(e.Quote, e.Boot)]
	return n, ok
}

// scan reads every leaf of the log.
func (x *index) scan(ctx context.Context, r tessera.LogReader) error {
	size, err := r.IntegratedSize(ctx)
	if err != nil {
		return fmt.Errorf("read the log's size: %w", err)
	}
	bundles := client.EntryBundles(ctx, 4, r.IntegratedSize, r.ReadEntryBundle, 0, size)
	for e, err := range client.Entries(bundles, unbundle) {
		if err != nil {
			return fmt.Errorf("read entries: %w", err)
		}
		leaf, err := poclog.ParseLeaf(e.Entry)
		if err != nil {
			return fmt.Errorf("entry %d: %w", e.Index, err)
		}
		x.add(e.Index, leaf)
		if e.Index+1 == size {
			break
		}
	}
	return nil
}

func unbundle(b []byte) ([][]byte, error) {
	var eb api.EntryBundle
	if err := eb.UnmarshalText(b); err != nil {
		return nil, err
	}
	return eb.Entries, nil
}
