package poclog

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/poclog/poclog/internal/canon"
)

// Limits of a contradiction's file.
const (
	// MaxContradiction is the largest file, in bytes: the receipts of two entries and all that was
	// judged, in base64url.
	MaxContradiction = 16 << 20

	maxEvidenceFiles = 8       // bundle, envelope, collateral and policy of two entries
	maxRuleID        = 40      // bytes
	maxTlogPolicy    = 1 << 16 // bytes of a monitor's tlog-policy
)

// A Contradiction is evidence that cannot all be honest (`*.contradiction.json`, docs/format.md
// §15): entries that a rule found, with their receipts and what was judged.
//
//	{"v":1,"rule":"ak-on-two-chips","policy":"…","claims":[{"receipt":"…","covered":["…"]},{"receipt":"…"}],"evidence":["…"],"sha256":"…"}
//
// It says nothing that the receipts and the files do not show: verify/receipt.CheckContradiction
// runs the rule again.
type Contradiction struct {
	Rule     string    // id of the rule
	Policy   []byte    // the monitor's tlog-policy, for information: readers judge by their own; may be empty
	Claims   []Showing // one or two, by origin and number
	Evidence [][]byte  // files that the entries name, each once, ascending by digest; none where they were not to be had
}

// A Showing is an entry with the proof that a log published it.
type Showing struct {
	Receipt []byte // the receipt's file

	// Covered proves that the other entry is in the tree of this entry's challenge, and so was made
	// before: the inclusion proof of its leaf under the root in Fresh. Empty claims no order.
	Covered [][sha256.Size]byte
}

// Marshal returns the file.
func (c *Contradiction) Marshal() ([]byte, error) {
	file, err := canon.Write(MaxContradiction, c.code)
	if err != nil {
		return nil, fmt.Errorf("encode contradiction: %w", err)
	}
	return file, nil
}

func (c *Contradiction) code(x *canon.Codec) {
	x.Lit(`{"v":1`)
	canon.Str(x.Member("rule"), &c.Rule, maxRuleID)
	x.Check(isRuleID(c.Rule), "rule %q: want lower-case words with hyphens between", c.Rule)
	x.OptionalBase64("policy", &c.Policy, maxTlogPolicy)
	canon.List(x.Member("claims"), "claims", &c.Claims, 2, func(s *Showing) { s.code(x) })
	x.Check(len(c.Claims) > 0, "claims: none")
	canon.OptionalList(x, "evidence", &c.Evidence, maxEvidenceFiles, func(f *[]byte) { x.Base64(f, MaxEnvelope) })
	codeDigests(x, "evidence", c.Evidence)
	// What the policy and strangers' signatures say is signed by no log: the digest shows damage to
	// them, too.
	var sum, have Digest
	x.Before(func(file []byte) { sum = Sum(file) })
	have = sum
	x.Member("sha256").Hex(have[:])
	x.Check(have == sum, "sha256 %s: what stands before it has %s", have, sum)
	x.Lit("}")
}

// codeDigests holds files to the order of their digests.
func codeDigests(x *canon.Codec, what string, files [][]byte) {
	var last Digest
	for i, f := range files {
		sum := Sum(f)
		x.Check(i == 0 || bytes.Compare(last[:], sum[:]) < 0, "%s: file %s after %s: want ascending digests without repeats", what, sum, last)
		last = sum
	}
}

func (s *Showing) code(c *canon.Codec) {
	c.Object(func() {
		c.Member("receipt").Base64(&s.Receipt, MaxReceipt)
		canon.OptionalList(c, "covered", &s.Covered, maxProofHashes, func(h *[sha256.Size]byte) { c.Hex(h[:]) })
	})
}

// ParseContradiction parses a file. It looks neither into the receipts nor into the evidence.
func ParseContradiction(file []byte) (*Contradiction, error) {
	if len(file) > MaxContradiction {
		return nil, fmt.Errorf("contradiction of %d bytes: want at most %d", len(file), MaxContradiction)
	}
	c := new(Contradiction)
	if err := canon.Read(file, c.code); err != nil {
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
