package audit

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/internal/durable"
	"github.com/poclog/poclog/internal/indexmap"
	"github.com/poclog/poclog/verify/dossier"
)

// Bounds of the search for what a wrong index has wrong.
const (
	maxSuspects = 512 // names
	askedAtOnce = 16
)

// dirContradictions holds the files that show what a log's index has wrong.
const dirContradictions = "contradictions"

// expose looks for the name that a wrong index has wrong, and keeps the file that shows it. The log
// itself says what its index has of a name: it is asked for those that changed since the index was
// right last. It returns what was found, for the report, or nothing.
func (a *Auditor) expose(ctx context.Context, cl *client.Client, r *record, wrong *indexmap.WrongError) (said string) {
	m, err := a.index(r.origin)
	if err != nil || wrong.Right == (poclog.Digest{}) {
		return ""
	}
	suspects, err := m.Pending(maxSuspects)
	if err != nil {
		return ""
	}
	under, err := cl.Checkpoint(ctx)
	if err != nil {
		return ""
	}
	for names := range slices.Chunk(suspects, askedAtOnce) {
		d, err := cl.Dossier(ctx, client.DossierOf{Names: names})
		if err != nil {
			a.cfg.Logger.Warn("what the wrong index says cannot be asked", "origin", r.origin, "error", err)
			return ""
		}
		for _, n := range d.Names {
			file, found, err := a.shown(ctx, cl, m, under, d.Index, n)
			if err != nil || found == nil {
				continue
			}
			return a.keepWrong(r.origin, file, found)
		}
	}
	return ""
}

// shown makes the file about a name, if the log's index has it wrong.
func (a *Auditor) shown(ctx context.Context, cl *client.Client, m *indexmap.Map, under *client.Checkpoint, head []byte, n poclog.DossierName) ([]byte, *dossier.Wrong, error) {
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
		if e, err := poclog.ParseEntry(leaf.Entry); err == nil && e.Fresh != nil {
			bundle, err := cl.Evidence(ctx, e.Evidence.Bundle)
			if err != nil {
				return nil, err
			}
			if of.Challenge, err = challengeOf(bundle); err != nil {
				return nil, err
			}
		}
		return cl.Receipt(ctx, of)
	}
	return nil, fmt.Errorf("entry %d: the log does not show it", number)
}

func challengeOf(file []byte) ([]byte, error) {
	b, err := poclog.ParseBundle(file)
	if err != nil {
		return nil, err
	}
	c, err := b.Challenge()
	if err != nil {
		return nil, err
	}
	return c.Checkpoint, nil
}

// keepWrong keeps a file, and says what it shows.
func (a *Auditor) keepWrong(origin string, file []byte, found *dossier.Wrong) string {
	what := "lists"
	if found.Omitted {
		what = "leaves out"
	}
	said := fmt.Sprintf("the list of %s %s entry %d", found.Name, what, found.Entry)
	dir := filepath.Join(a.dir, dirContradictions)
	path := filepath.Join(dir, poclog.Sum(file).String()[:16]+".index-wrong.json")
	err := durable.MkdirAll(dir, 0o755)
	if err == nil {
		err = durable.Replace(path, file, 0o644)
	}
	if err != nil {
		a.cfg.Logger.Error("the file that shows a wrong index is not kept", "origin", origin, "error", err)
		return said
	}
	return said + ", as " + path + " shows"
}
