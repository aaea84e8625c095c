package receipt

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// Standing is on whose word a verdict stands.
type Standing string

// The standings, from weak to strong.
const (
	Logged      Standing = "logged"      // the log vouches for the appraisal
	Audited     Standing = "audited"     // the policy's auditors repeated it
	Reappraised Standing = "reappraised" // it was repeated here, from the evidence
)

var standings = []Standing{Logged, Audited, Reappraised}

// A Verdict says what a receipt proves. Its JSON is a stable schema, version V.
type Verdict struct {
	V       int      `json:"v"`
	Verdict Standing `json:"verdict"`

	Origin   string        `json:"origin"`
	Index    uint64        `json:"index"`
	Size     uint64        `json:"size"` // of the receipt's checkpoint
	Root     poclog.Digest `json:"root"`
	LeafHash poclog.Digest `json:"leaf_hash"`
	Kind     string        `json:"kind"` // "proof", "config", "index", "statement", "unknown", or "malformed" where that is what a contradiction shows

	T1    Bound  `json:"not_before"` // the evidence was made after it
	T2    Bound  `json:"not_after"`  // and before it
	After uint64 `json:"after_size"` // and after the challenge's log had this size; 0 for historical evidence
	Seen  Bound  `json:"seen"`       // the time at which the quorum saw the receipt's checkpoint

	Witnesses []string `json:"witnesses,omitempty"` // of the policy, whose cosignatures the checkpoint has

	// Of an audited entry: the names of the auditors' keys, and how many other entries of the tree
	// one of them did not see, at most.
	Auditors []string `json:"auditors,omitempty"`
	Unseen   int      `json:"unseen,omitempty"`

	Entry      *poclog.Entry          `json:"-"` // nil for other kinds
	Config     *poclog.Config         `json:"-"`
	IndexEntry *poclog.IndexEntry     `json:"-"`
	Statement  *poclog.StatementEntry `json:"-"`

	Receipt    *poclog.Receipt  `json:"-"` // what was checked
	Checkpoint *tlogpolicy.View `json:"-"` // the receipt's, verified

	policy    *tlogpolicy.Policy
	notes     []note
	malformed error // of a leaf that says it is of a known kind
}

// describe fills in what the views say.
func (v *Verdict) describe() {
	switch {
	case v.Entry != nil:
		v.Kind = "proof"
		if v.Entry.Fresh != nil {
			v.After = v.Entry.Fresh.Size
		}
	case v.Config != nil:
		v.Kind = "config"
	case v.IndexEntry != nil:
		v.Kind = "index"
	case v.Statement != nil:
		v.Kind = "statement"
	case v.malformed != nil:
		v.Kind = "malformed"
	default:
		v.Kind = "unknown"
	}
	for _, c := range v.Checkpoint.Cosignatures {
		v.Witnesses = append(v.Witnesses, c.Name)
	}
}

// DefaultAuditGroup is the group of a policy whose cosigners re-verify entries, unless a reader
// says otherwise.
const DefaultAuditGroup = "auditors"

// askAuditors raises the verdict if the audit group verified the entry: an auditor's own key on the
// checkpoint says that it verified every entry, and its note of exceptions, that it verified those
// which the note does not list. An exceptions' key on the checkpoint says of no entry that it was
// verified.
func (v *Verdict) askAuditors(group string) {
	if group == "" {
		group = DefaultAuditGroup
	}
	if v.Verdict != Logged || group == tlogpolicy.None {
		return
	}
	var counted, names []string
	for _, c := range v.Checkpoint.Cosignatures {
		if v.policy.Contains(group, c.Name) && !strings.HasSuffix(c.KeyName, poclog.ExceptSuffix) {
			counted, names = append(counted, c.Name), append(names, c.KeyName)
		}
	}
	unseen := 0
	for _, n := range v.notes {
		for _, w := range n.standsFor {
			if v.policy.Contains(group, w) && !slices.Contains(counted, w) {
				counted, names, unseen = append(counted, w), append(names, n.auditor), max(unseen, n.unseen)
			}
		}
	}
	if v.policy.Satisfied(group, counted...) {
		slices.Sort(names)
		v.Verdict, v.Auditors, v.Unseen = Audited, slices.Compact(names), unseen
	}
}

// Evidence is what was judged, as files. Collateral is empty where there was none, Envelope where
// no publisher signed.
type Evidence struct {
	Bundle, Envelope, Collateral, Policy []byte
}

// A part is one file of an entry's evidence.
type part struct {
	what string
	blob poclog.Blob
	file *[]byte
}

// parts pairs the files that an entry may name with where they go.
func (e *Evidence) parts(named *poclog.EvidenceDigests) []part {
	return []part{
		{"bundle", named.Bundle, &e.Bundle}, {"envelope", named.Envelope, &e.Envelope},
		{"collateral", named.Collateral, &e.Collateral}, {"policy", named.Policy, &e.Policy},
	}
}

// A Reappraiser repeats an appraisal and returns the leaf. It is injected, so that checking a
// receipt needs no parser of quotes.
type Reappraiser interface {
	Reappraise(e Evidence, appraised time.Time, appraisal uint32) (leaf []byte, err error)
}

// repeat raises the verdict if the evidence is at hand and gives the entry again; evidence that
// does not is refused.
func (v *Verdict) repeat(by Reappraiser, e *Evidence, leaf []byte) error {
	if e == nil {
		return nil
	}
	if by == nil || v.Entry == nil {
		return verify.Failf(StepReappraisal, "there is nobody, or no proof, to repeat the appraisal of")
	}
	for _, p := range e.parts(&v.Entry.Evidence) {
		have := poclog.Blob{}
		if len(*p.file) > 0 {
			have = poclog.BlobOf(*p.file)
		}
		if have != p.blob {
			return verify.Failf(StepReappraisal, "the %s at hand has digest %s: the entry names %s", p.what, have.SHA256, p.blob.SHA256)
		}
	}
	again, err := by.Reappraise(*e, v.Entry.Appraised, v.Entry.Appraisal)
	if err != nil {
		return verify.Failf(StepReappraisal, "the evidence does not pass: %w", err)
	}
	if !bytes.Equal(again, leaf) {
		return verify.Failf(StepReappraisal, "the evidence gives another entry than the log published")
	}
	v.Verdict = Reappraised
	return nil
}

// ErrNotProof says that a receipt is of an entry that is no Proof of Cloud.
var ErrNotProof = errors.New("the entry is no Proof of Cloud")
