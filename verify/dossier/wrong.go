package dossier

import (
	"slices"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/index"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// StepWrong says that an index is not shown to be wrong.
const StepWrong verify.Check = "index-wrong"

// A Wrong is what an index says wrongly. Its JSON is a stable schema, version V.
type Wrong struct {
	V       int    `json:"v"`
	Origin  string `json:"origin"`
	Number  uint64 `json:"index"` // of the index entry
	Size    uint64 `json:"size"`  // the index claims to be of all entries below it
	Name    string `json:"name"`
	Entry   uint64 `json:"entry"`   // whose number the list of the name has wrong
	Omitted bool   `json:"omitted"` // the entry states the name, and is not listed; else it is listed, and does not state it
}

// CheckIndexWrong verifies a file that shows a log's index to be wrong, under the reader's policy.
// A nil error means that the log signed an index that contradicts an entry which it signed, too.
func CheckIndexWrong(file []byte, policy *tlogpolicy.Policy) (*Wrong, error) {
	if policy == nil {
		return nil, receipt.ErrNoPolicy
	}
	w, err := poclog.ParseIndexWrong(file)
	if err != nil {
		return nil, verify.Failf(verify.Format, "%w", err)
	}
	head, err := receipt.Open(w.Index, policy)
	if err != nil {
		return nil, err
	}
	if e := head.IndexEntry; e == nil || e.Algorithm != index.Algorithm {
		return nil, verify.Failf(StepIndex, "entry %d is no index entry of an algorithm that this software knows", head.Index)
	}
	v, err := receipt.Open(w.Entry, policy)
	if err != nil {
		return nil, err
	}
	if v.Origin != head.Origin || v.Index >= head.IndexEntry.Size {
		return nil, verify.Failf(StepWrong, "entry %d of %s: want one of %s below %d, which the index is of", v.Index, v.Origin, head.Origin, head.IndexEntry.Size)
	}
	if err := listedUnder(head.IndexEntry.Root, &w.DossierName); err != nil {
		return nil, err
	}
	if w.Before != nil && v.Index < w.Numbers[0] {
		return nil, verify.Failf(StepWrong, "the list begins with entry %d: it does not show whether it has entry %d", w.Numbers[0], v.Index)
	}
	stated := slices.Contains(index.NamesOf(poclog.Leaf{Proof: v.Entry, Config: v.Config, Statement: v.Statement}), w.Name)
	if stated == slices.Contains(w.Numbers, v.Index) {
		return nil, verify.Failf(StepWrong, "the index says of %s and entry %d what the entry says", w.Name, v.Index)
	}
	return &Wrong{V: 1, Origin: head.Origin, Number: head.Index, Size: head.IndexEntry.Size, Name: w.Name, Entry: v.Index, Omitted: stated}, nil
}

// listedUnder holds a name's numbers to what the map under a root says. A list that does not begin
// with the first number has one.
func listedUnder(root poclog.Digest, n *poclog.DossierName) error {
	if err := index.ParseName(n.Name); err != nil {
		return verify.Failf(StepMap, "%w", err)
	}
	want, present, err := index.Lookup(root, n.Name, n.Proof)
	if err != nil {
		return verify.Failf(StepMap, "%s: %w", n.Name, err)
	}
	return chained(n, want, present)
}

// chained holds a name's numbers to its value.
func chained(n *poclog.DossierName, want index.Value, present bool) error {
	from := index.Value{}
	if n.Before != nil {
		from = index.Value(*n.Before)
	}
	switch {
	case !present && (len(n.Numbers) > 0 || n.Before != nil):
		return verify.Failf(StepNumbers, "%s has numbers, and is not in the map", n.Name)
	case !present:
		return nil
	case len(n.Numbers) == 0:
		return verify.Failf(StepNumbers, "%s is in the map: want its numbers", n.Name)
	case from.Chain(n.Numbers) != want:
		return verify.Failf(StepNumbers, "%s: its numbers do not give the value in the map: one is missing, or one too many", n.Name)
	}
	return nil
}
