// Package wrongindex makes the portable file that shows what a log's index has wrong
// (`*.index-wrong.json`, docs/format.md §16), for those who recompute indexes: auditors and
// monitors. The tests of both are the evidence.
package wrongindex

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/internal/indexmap"
	"github.com/poclog/poclog/verify/dossier"
)

// Suffix is how the names of the files end.
const Suffix = ".index-wrong.json"

// Bounds of the search.
const (
	maxSuspects = 512 // names
	askedAtOnce = 16
)

// Show looks for the name that a wrong index has wrong, and returns the file that shows it, and
// what it shows; nil where it is not found. The map is of the log's entries, and stands before the
// wrong index entry. The log itself says what its index has of a name: it is asked for those that
// changed since the index was right last.
func Show(ctx context.Context, cl *client.Client, m *indexmap.Map) (file []byte, found *dossier.Wrong, err error) {
	suspects, err := m.Pending(maxSuspects)
	if err != nil {
		return nil, nil, err
	}
	under, err := cl.Checkpoint(ctx)
	if err != nil {
		return nil, nil, err
	}
	for names := range slices.Chunk(suspects, askedAtOnce) {
		d, e := cl.Dossier(ctx, client.DossierOf{Names: names})
		if e != nil {
			return nil, nil, fmt.Errorf("ask what the wrong index says: %w", e)
		}
		for _, n := range d.Names {
			file, found, e := show(ctx, cl, m, under, d.Index, n)
			if found != nil {
				return file, found, nil
			}
			err = errors.Join(err, e) // another name may show it
		}
	}
	return nil, nil, err
}

// Say says what a file shows.
func Say(found *dossier.Wrong) string {
	what := "lists"
	if found.Omitted {
		what = "leaves out"
	}
	return fmt.Sprintf("the list of %s %s entry %d", found.Name, what, found.Entry)
}

// show makes the file about a name, if the log's index has it wrong.
func show(ctx context.Context, cl *client.Client, m *indexmap.Map, under *client.Checkpoint, head []byte, n poclog.DossierName) ([]byte, *dossier.Wrong, error) {
	right, err := m.All(n.Name)
	if err != nil {
		return nil, nil, err
	}
	for _, number := range differing(right, n.Numbers) {
		if number >= under.Size {
			continue
		}
		entry, err := receiptOf(ctx, cl, number, under)
		if err != nil {
			return nil, nil, err
		}
		file, err := (&poclog.IndexWrong{Index: head, DossierName: n, Entry: entry}).Marshal()
		if err != nil {
			return nil, nil, err
		}
		if found, err := dossier.CheckIndexWrong(file, cl.Policy); err == nil {
			return file, found, nil
		}
	}
	return nil, nil, nil
}

// differing returns the numbers that only one of two ascending lists has, of those that are not
// before the second one's first.
func differing(right, said []uint64) (list []uint64) {
	for _, n := range right {
		if _, listed := slices.BinarySearch(said, n); !listed {
			list = append(list, n)
		}
	}
	for _, n := range said {
		if _, stated := slices.BinarySearch(right, n); !stated {
			list = append(list, n)
		}
	}
	return list
}

// receiptOf makes the receipt of an entry.
func receiptOf(ctx context.Context, cl *client.Client, number uint64, under *client.Checkpoint) ([]byte, error) {
	for leaf, err := range cl.Entries(ctx, under.Tree, client.Range{From: number, To: number + 1}) {
		if err != nil {
			return nil, err
		}
		of := client.ReceiptFor{Leaf: leaf.Entry, Index: number, Under: under}
		if e, err := poclog.ParseEntry(leaf.Entry); err == nil {
			if of.Challenge, err = cl.ChallengeOf(ctx, e); err != nil {
				return nil, err
			}
		}
		return cl.Receipt(ctx, of)
	}
	return nil, fmt.Errorf("entry %d: the log does not show it", number)
}
