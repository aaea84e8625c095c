package log

import (
	"context"
	"slices"

	"github.com/transparency-dev/tessera/api"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/log/store"
	"github.com/poclog/poclog/verify"
)

// Duplicates find the entry of evidence that was submitted before. They are derived from the log's
// entries. An admission claims its evidence before it appends, so that others find the claim, and
// settles or releases it after. Methods may be called at the same time. Until Open returned nil,
// those that read answer with the problem that says how far it is.
type duplicates interface {
	// Open makes them know every entry below the tree's size: nothing is admitted before. Entries
	// that they do not know yet are read. What failed can be tried again.
	open(ctx context.Context) error
	// Run goes on until the context ends.
	run(ctx context.Context)
	close() error

	// Find returns the number of the entry that answers for an entry's evidence, if there is one.
	find(ctx context.Context, e *poclog.Entry) (number uint64, ok bool, err error)
	// FindBundle returns the number of the entry of a bundle's file, if there is one.
	findBundle(ctx context.Context, d poclog.Digest) (number uint64, ok bool, err error)
	// Claim says that an entry is about to be appended. If an entry answers for its evidence
	// already, that one's number is returned, and nothing is claimed.
	claim(ctx context.Context, e *poclog.Entry) (number uint64, ok bool, err error)
	// Settle says that a leaf is in the tree. The claim on its evidence, if it has one, has ended.
	settle(number uint64, leaf poclog.Leaf)
	// Release ends the claim on an entry that is not appended.
	release(e *poclog.Entry)
	// Config returns the newest config entry, or nil.
	config(ctx context.Context) (*poclog.Config, error)
	// Warnings say what does not go on.
	warnings() []string
}

// keyOf is the key of a quote with a boot, or of the quote alone.
func keyOf(quote poclog.Identity, boot *poclog.Digest) store.Key {
	text := string(quote)
	if boot != nil {
		text += boot.String()
	}
	return keyOfBundle(poclog.Sum([]byte(text)))
}

// ownKey is the key of which all evidence says the same as an entry's: its quote with its boot, or
// the quote alone. A bundle whose TEE and TPM are not bound to each other is known by its file
// alone, for it may be put together from others' evidence.
func ownKey(e *poclog.Entry) store.Key {
	if e.Joined() || e.Profile.ChipOnly() {
		return keyOf(e.Quote, e.Boot)
	}
	return keyOfBundle(e.Evidence.Bundle.SHA256)
}

// answered are the keys for which an entry answers: of a bundle that is not bound together, its own
// alone.
func answered(e *poclog.Entry) []store.Key {
	own, bundle := ownKey(e), keyOfBundle(e.Evidence.Bundle.SHA256)
	if own == bundle {
		return []store.Key{bundle}
	}
	if quote := keyOf(e.Quote, nil); own != quote {
		return []store.Key{own, quote, bundle}
	}
	return []store.Key{own, bundle}
}

// keyOfBundle is the key of a bundle's file.
func keyOfBundle(d poclog.Digest) store.Key { return store.Key(d[:16]) }

// rowsOf are the keys for which an entry of a number answers.
func rowsOf(e *poclog.Entry, number uint64) (rows []store.KnownRow) {
	now := store.KnownEntry{Number: number, Proved: provedBy(e)}
	for _, k := range answered(e) {
		rows = append(rows, store.KnownRow{Key: k, KnownEntry: now})
	}
	return rows
}

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

func unbundle(b []byte) ([][]byte, error) {
	var eb api.EntryBundle
	if err := eb.UnmarshalText(b); err != nil {
		return nil, err
	}
	return eb.Entries, nil
}
