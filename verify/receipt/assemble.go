package receipt

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// A Piece is an entry of a contradiction that is to be put together.
type Piece struct {
	Receipt  []byte              // the receipt's file
	Evidence *Evidence           // what the entry names; nil where not all of it is to be had
	Covered  [][sha256.Size]byte // the inclusion proof of the other entry under the root in this entry's Fresh; none where it claims no order
}

// AssembleContradiction makes the file of what a rule found: one entry or two, in any order, and
// the monitor's tlog-policy, for information. It does not run the rule: [CheckContradiction] does,
// and whoever hands the file on should have it do so first.
func AssembleContradiction(ruleID string, tlogPolicy []byte, pieces ...Piece) ([]byte, error) {
	type placed struct {
		Piece
		origin string
		index  uint64
	}
	var list []placed
	for _, p := range pieces {
		r, err := poclog.ParseReceipt(p.Receipt)
		if err != nil {
			return nil, fmt.Errorf("assemble contradiction: %w", err)
		}
		cp, err := tlogpolicy.ParseCheckpoint(r.Inclusion.Checkpoint)
		if err != nil {
			return nil, fmt.Errorf("assemble contradiction: %w", err)
		}
		list = append(list, placed{p, cp.Origin, r.Index})
	}
	slices.SortFunc(list, func(a, b placed) int { return cmp.Or(cmp.Compare(a.origin, b.origin), cmp.Compare(a.index, b.index)) })
	c := &poclog.Contradiction{Rule: ruleID, Policy: tlogPolicy}
	for _, p := range list {
		c.Claims = append(c.Claims, poclog.Showing{Receipt: p.Receipt, Covered: p.Covered})
		if e := p.Evidence; e != nil {
			for _, f := range [][]byte{e.Bundle, e.Envelope, e.Collateral, e.Policy} {
				c.AddEvidence(f)
			}
		}
	}
	return c.Marshal()
}
