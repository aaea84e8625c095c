package poclog

import (
	"fmt"
	"slices"
	"time"

	"github.com/poclog/poclog/internal/canon"
)

// A StatementEntry is the leaf of kind "statement": what a registrar stated, and by which policy
// the log admitted it, docs/format.md §18.
//
//	{"v":1,"kind":"statement","envelope":{…},"signers":["…"],"policy":{"sha256":"…","size":…},"time":"…"}
//
// The envelope is in the leaf, so that readers and auditors verify the signatures without asking
// anybody. Signers, policy and time are the log's word; auditors compute the first two again.
type StatementEntry struct {
	Envelope StatementEnvelope
	Signers  []Digest  // of the keys that signed, ascending: one for each signature
	Policy   Blob      // that was in force: its registrars
	Time     time.Time // when the log took it: UTC, whole seconds; never before that of the registrar's statement on the subject before it
}

// statementStart is how each leaf of kind "statement" that this software knows begins.
const statementStart = `{"v":1,"kind":"statement"`

// Marshal returns the leaf. It fails if a member is out of its range.
func (e *StatementEntry) Marshal() ([]byte, error) {
	leaf, err := canon.Write(MaxEntry, func(c *canon.Codec) {
		c.Lit(statementStart)
		e.code(c)
	})
	if err != nil {
		return nil, fmt.Errorf("encode statement entry: %w", err)
	}
	return leaf, nil
}

func (e *StatementEntry) code(c *canon.Codec) {
	e.Envelope.code(c.Member("envelope"))
	canon.List(c.Member("signers"), "signers", &e.Signers, MaxSignatures, func(d *Digest) { c.Hex(d[:]) })
	canon.Ascending(c, "signers", e.Signers, func(a, b Digest) bool { return slices.Compare(a[:], b[:]) < 0 })
	c.Check(len(e.Signers) == len(e.Envelope.Signatures), "%d signers of %d signatures: want one for each", len(e.Signers), len(e.Envelope.Signatures))
	e.Policy.code(c.Member("policy"))
	c.Member("time").Time(&e.Time)
	c.Lit("}")
}
