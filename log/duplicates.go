package log

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/client"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
)

// Duplicates find the entry of evidence that was submitted before: about 50 bytes for each entry's
// quote, boot and bundle.
type duplicates struct {
	mu    sync.Mutex // guards what follows
	known map[[16]byte]known
	last  *poclog.Config // the newest config entry
}

// known is the entry that answers for evidence.
type known struct {
	number uint64
	proved uint32 // what it proved
}

func newDuplicates() *duplicates { return &duplicates{known: make(map[[16]byte]known)} }

// keyOf is the key of a quote with a boot, or of the quote alone.
func keyOf(quote poclog.Identity, boot *poclog.Digest) [16]byte {
	text := string(quote)
	if boot != nil {
		text += boot.String()
	}
	sum := poclog.Sum([]byte(text))
	return [16]byte(sum[:16])
}

// ownKey is the key of which all evidence says the same as an entry's: its quote with its boot, or
// the quote alone. A bundle whose TEE and TPM are not bound to each other is known by its file
// alone, for it may be put together from others' evidence.
func ownKey(e *poclog.Entry) [16]byte {
	if e.Joined() || e.Profile.ChipOnly() {
		return keyOf(e.Quote, e.Boot)
	}
	return keyOfBundle(e.Evidence.Bundle.SHA256)
}

// answered are the keys for which an entry answers: of a bundle that is not bound together, its own
// alone.
func answered(e *poclog.Entry) [][16]byte {
	own, bundle := ownKey(e), keyOfBundle(e.Evidence.Bundle.SHA256)
	if own == bundle {
		return [][16]byte{bundle}
	}
	return [][16]byte{own, keyOf(e.Quote, nil), bundle}
}

// keyOfBundle is the key of a bundle's file.
func keyOfBundle(d poclog.Digest) [16]byte { return [16]byte(d[:16]) }

var allChecks = verify.Checks()

// provedBy is the set of the checks that an entry passed, and of its level. What the provider
// answered is left out: the log asks only once it knows that evidence is new.
func provedBy(e *poclog.Entry) uint32 {
	set := e.Level << 30 // 0 or 2: the highest bit
	for i, c := range allChecks {
		if c != verify.PlaceRegistry && slices.Contains(e.Checks, string(c)) {
			set |= 1 << i
		}
	}
	return set
}

// answers reports whether an entry that proved something is the answer to evidence that proves a
// set: unless the evidence proves all of that and more. Whoever submits first a part of another's
// evidence, without its challenge or its collateral, must not keep the whole out.
func (k known) answers(set uint32) bool { return set == k.proved || set&k.proved != k.proved }

// add notes a leaf. The first entry of a quote answers for its parts.
func (x *duplicates) add(number uint64, leaf poclog.Leaf) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if leaf.Config != nil {
		x.last = leaf.Config
	}
	if e := leaf.Proof; e != nil {
		now := known{number, provedBy(e)}
		for _, key := range answered(e) {
			old, ok := x.known[key]
			if !ok || !old.answers(now.proved) || old.proved == now.proved && number < old.number {
				x.known[key] = now
			}
		}
	}
}

// find returns the number of the entry that answers for an entry's evidence.
func (x *duplicates) find(e *poclog.Entry) (uint64, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	k, ok := x.known[ownKey(e)]
	return k.number, ok && k.answers(provedBy(e))
}

// findBundle returns the number of the entry of a bundle's file.
func (x *duplicates) findBundle(d poclog.Digest) (uint64, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	k, ok := x.known[keyOfBundle(d)]
	return k.number, ok
}

// config returns the newest config entry, or nil.
func (x *duplicates) config() *poclog.Config {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.last
}

// scanNote is how often a long scan says how far it is.
const scanNote = 5 * time.Second

// scan reads every leaf of the log.
func (x *duplicates) scan(ctx context.Context, r *tree, logger *slog.Logger) error {
	size, err := r.IntegratedSize(ctx)
	if err != nil {
		return fmt.Errorf("read the log's size: %w", err)
	}
	noted := time.Now()
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
		if time.Since(noted) > scanNote {
			noted = time.Now()
			logger.Info("reading entries", "done", e.Index+1, "of", size)
		}
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
