package receipt

import (
	"slices"
	"strings"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
)

// A note is what an auditor's note of exceptions says for a receipt's entry.
type note struct {
	auditor   string   // the name of the auditor's own keys
	standsFor []string // the policy's witnesses in whose place it stands: none if it lists the entry
	unseen    int      // how many entries it lists
}

// readNotes verifies the auditors' notes of a receipt. One by an auditor whom the policy does not
// name says nothing; any that is not on the receipt's tree refuses: it was put there to mislead.
func (v *Verdict) readNotes(files [][]byte) error {
	var last string
	for _, file := range files {
		e, err := poclog.ParseExceptions(file)
		if err != nil {
			return verify.Failf(StepExceptions, "%w", err)
		}
		switch {
		case e.Auditor <= last:
			return verify.Failf(StepExceptions, "the note of %q after that of %q: want one of each, in ascending order", e.Auditor, last)
		case e.Origin != v.Origin || e.Size != v.Size:
			return verify.Failf(StepExceptions, "the note of %q is on size %d of %q: the receipt's checkpoint is of size %d of %q", e.Auditor, e.Size, e.Origin, v.Size, v.Origin)
		case e.Root != v.Root:
			return verify.Failf(StepExceptions, "the note of %q is on root %s at size %d: the receipt's checkpoint has %s", e.Auditor, e.Root, e.Size, v.Root)
		}
		last = e.Auditor
		n := note{auditor: strings.TrimSuffix(e.Auditor, poclog.ExceptSuffix), unseen: len(e.Except)}
		if n.standsFor, err = v.policy.Excepted(e); err != nil {
			return verify.Failf(StepExceptions, "the note of %q: %w", e.Auditor, err)
		}
		if _, listed := slices.BinarySearch(e.Except, v.Index); listed {
			n.standsFor = nil
		}
		v.notes = append(v.notes, n)
	}
	return nil
}
