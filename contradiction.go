package poclog

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
)

// Limits of a contradiction's file.
const (
	// MaxContradiction is the largest file, in bytes: the receipts of two entries and all that was judged, in base64url.
	MaxContradiction = 16 << 20

	maxEvidenceFiles = 8       // bundle, envelope, collateral and policy of two entries
	maxRuleID        = 40      // bytes
	maxTlogPolicy    = 1 << 16 // bytes of a monitor's tlog-policy
)

// A Contradiction is evidence that cannot all be honest (`*.contradiction.json`, docs/format.md §15): entries that a rule found, with
// their receipts and what was judged.
//
//	{"v":1,"rule":"ak-on-two-chips","policy":"…","claims":[{"receipt":"…","covered":["…"]},{"receipt":"…"}],"evidence":["…"],"sha256":"…"}
//
// It says nothing that the receipts and the files do not show: verify/receipt.CheckContradiction runs the rule again.
type Contradiction struct {
	Rule     string    // id of the rule
	Policy   []byte    // the monitor's tlog-policy, for information: readers judge by their own; may be empty
	Claims   []Showing // one or two, by origin and number
	Evidence [][]byte  // files that the entries name, each once, ascending by digest; none where they were not to be had
}

// A Showing is an entry with the proof that a log published it.
type Showing struct {
	Receipt []byte // the receipt's file

	// Covered proves that the other entry is in the tree of this entry's challenge, and so was made before: the inclusion proof of its leaf
	// under the root in Fresh. Empty claims no order.
	Covered [][sha256.Size]byte
}

// Marshal returns the file.
func (c *Contradiction) Marshal() ([]byte, error) {
	e := encoder{buf: []byte(`{"v":1`)}
	e.str("rule", c.Rule)
	if len(c.Policy) > 0 {
		e.base64("policy", c.Policy)
	}
	e.open("claims", '[')
	for _, s := range c.Claims {
		e.sep()
		e.char('{')
		e.base64("receipt", s.Receipt)
		if len(s.Covered) > 0 {
			e.hashes("covered", s.Covered)
		}
		e.char('}')
	}
	e.char(']')
	if len(c.Evidence) > 0 {
		e.open("evidence", '[')
		for _, f := range c.Evidence {
			e.sep()
			e.bare64(f)
		}
		e.char(']')
	}
	// What the policy and strangers' signatures say is nobody's word: the digest shows damage to them, too.
	sum := Sum(e.buf)
	e.hex("sha256", sum[:])
	e.char('}')
	if _, err := ParseContradiction(e.buf); err != nil {
		return nil, fmt.Errorf("encode contradiction: %w", err)
	}
	return e.buf, nil
}

func (e *encoder) hashes(name string, list [][sha256.Size]byte) {
	e.open(name, '[')
	for i := range list {
		e.sep()
		e.bareHex(list[i][:])
	}
	e.char(']')
}

// ParseContradiction parses a file. It looks neither into the receipts nor into the evidence.
func ParseContradiction(file []byte) (*Contradiction, error) {
	if len(file) > MaxContradiction {
		return nil, fmt.Errorf("contradiction of %d bytes: want at most %d", len(file), MaxContradiction)
	}
	d := decoder{b: file}
	c := new(Contradiction)
	d.lit(`{"v":1`)
	if c.Rule = d.str("rule", maxRuleID); d.err == nil && !isRuleID(c.Rule) {
		d.fail("rule %q: want lower-case words with hyphens between", c.Rule)
	}
	if d.has("policy") {
		c.Policy = d.base64(maxTlogPolicy)
	}
	d.claims(c)
	if d.has("evidence") {
		d.evidenceFiles(c)
	}
	sum := Sum(d.b[:d.off])
	if have := d.digest("sha256"); d.err == nil && have != sum {
		d.fail("sha256 %s: what stands before it has %s", have, sum)
	}
	d.lit("}")
	if err := d.end(); err != nil {
		return nil, fmt.Errorf("parse contradiction: %w", err)
	}
	return c, nil
}

func isRuleID(s string) bool {
	for i := 0; i < len(s); i++ {
		if (s[i] < 'a' || s[i] > 'z') && s[i] != '-' {
			return false
		}
	}
	return s != ""
}

func (d *decoder) claims(c *Contradiction) {
	d.open("claims", '[')
	for d.next() {
		if len(c.Claims) == 2 {
			d.fail("claims: more than two")
			return
		}
		var s Showing
		d.lit("{")
		d.name("receipt")
		s.Receipt = d.base64(MaxReceipt)
		if d.has("covered") {
			if s.Covered = d.hashList(); d.err == nil && len(s.Covered) == 0 {
				d.fail("covered: an empty proof is left out")
			}
		}
		d.lit("}")
		c.Claims = append(c.Claims, s)
	}
	if d.err == nil && len(c.Claims) == 0 {
		d.fail("claims: none")
	}
}

// hashList reads the hashes of an inclusion proof.
func (d *decoder) hashList() [][sha256.Size]byte {
	var list [][sha256.Size]byte
	d.lit("[")
	for d.next() {
		if len(list) == maxProofHashes {
			d.fail("more than %d hashes", maxProofHashes)
			break
		}
		list = append(list, [sha256.Size]byte{})
		d.hexInto(list[len(list)-1][:])
	}
	return list
}

func (d *decoder) evidenceFiles(c *Contradiction) {
	d.lit("[")
	var last Digest
	for d.next() {
		if len(c.Evidence) == maxEvidenceFiles {
			d.fail("evidence: more than %d files", maxEvidenceFiles)
			return
		}
		f := d.base64(MaxEnvelope)
		sum := Sum(f)
		if d.err == nil && len(c.Evidence) > 0 && bytes.Compare(last[:], sum[:]) >= 0 {
			d.fail("evidence: file %s after %s: want ascending digests without repeats", sum, last)
		}
		c.Evidence, last = append(c.Evidence, f), sum
	}
	if d.err == nil && len(c.Evidence) == 0 {
		d.fail("evidence: none is left out")
	}
}

// AddEvidence adds a file that an entry names, in its order, unless it is there or empty.
func (c *Contradiction) AddEvidence(file []byte) {
	if len(file) == 0 {
		return
	}
	sum := Sum(file)
	i, found := slices.BinarySearchFunc(c.Evidence, sum, func(f []byte, sum Digest) int {
		s := Sum(f)
		return bytes.Compare(s[:], sum[:])
	})
	if !found {
		c.Evidence = slices.Insert(c.Evidence, i, file)
	}
}
