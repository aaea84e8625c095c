package main

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/publish/importer"
	"github.com/poclog/poclog/verify/profile"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/verify/tdx"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// A summary is what a file is, and what matters of what it says: labels with texts.
type summary struct {
	kind   string
	fields [][2]string
}

func (s *summary) add(label, format string, args ...any) {
	s.fields = append(s.fields, [2]string{label, fmt.Sprintf(format, args...)})
}

func (s *summary) print(w io.Writer, path string) {
	labelled(w, "", oneLine(fmt.Sprintf("%s: %s; nothing of it is verified", path, s.kind)))
	for _, f := range s.fields {
		if widthOf(w) > 0 {
			f[1] = longHex.ReplaceAllStringFunc(f[1], func(s string) string { return s[:shownHex] + "…" })
		}
		field(w, f[0], "%s", f[1])
	}
	field(w, "all of it", "poclog inspect %s --json", path)
}

// summaryOf summarises a file that inspect has parsed; what cannot be read is left out.
func summaryOf(file []byte) *summary {
	s := new(summary)
	if v, err := parseStated(file); v != nil && err == nil {
		s.statement(v)
		return s
	}
	begins := func(with string) bool { return bytes.HasPrefix(file, []byte(with)) }
	switch kind := importer.KindOf(file); {
	case begins(receiptStart):
		s.receipt(file)
	case begins(bundleStart):
		s.kind = "a bundle: evidence of one machine"
		s.bundle(file)
	case begins(submissionStart), poclog.IsEnvelope(file):
		s.submission(file)
	case begins(splitViewStart):
		s.splitView(file)
	case poclog.IsDossier(file):
		s.dossier(file)
	case begins(contradictionStart):
		s.contradiction(file)
	case begins(`{"v":1,"kind":`):
		s.kind = "an entry of a log"
		s.leaf(file)
	case kind == importer.KindCollateral:
		s.collateral(file)
	case kind == importer.KindChallenge:
		s.challenge(file)
	case kind == importer.KindPolicy:
		s.policy(file)
	default:
		s.others(file)
	}
	return s
}

// others are files that are known by parsing them.
func (s *summary) others(file []byte) {
	if e, err := poclog.ParseExceptions(file); err == nil {
		s.kind = "a note of exceptions: entries that an auditor could not see"
		s.add("auditor", "%s", e.Auditor)
		s.add("log", "%s at size %d", e.Origin, e.Size)
		s.add("entries", "%s", strings.Trim(fmt.Sprint(e.Except), "[]"))
	} else if o, err := poclog.ParseOpening(file); err == nil {
		s.kind = "an opening of a commitment: a machine of a private fleet"
		s.add("machine", "%s", o.Identity)
		s.add("root", "%s", o.Root)
	} else {
		s.kind = "a checkpoint of a log"
		s.checkpoint("log", file)
	}
}

// checkpoint says whose tree it is, of what size, and who signed.
func (s *summary) checkpoint(label string, signed []byte) {
	cp, err := tlogpolicy.ParseCheckpoint(signed)
	if err != nil {
		return
	}
	var names []string
	for _, sig := range signaturesOf(signed) {
		if !slices.Contains(names, sig.Name) {
			names = append(names, sig.Name)
		}
	}
	s.add(label, "%s at size %d, with signatures of %s", cp.Origin, cp.Size, strings.Join(names, ", "))
}

func (s *summary) receipt(file []byte) {
	r, err := poclog.ParseReceipt(file)
	if err != nil {
		return
	}
	s.kind = fmt.Sprintf("a receipt of entry %d", r.Index)
	s.leaf(r.Entry)
	s.checkpoint("log", r.Inclusion.Checkpoint)
	if len(r.Challenge) > 0 {
		s.checkpoint("challenge", r.Challenge)
	}
	if r.First != nil {
		s.checkpoint("first", r.First.Checkpoint)
	}
}

// leaf says what an entry claims.
func (s *summary) leaf(entry []byte) {
	l, err := poclog.ParseLeaf(entry)
	switch {
	case err != nil:
		s.add("entry", "malformed: %v", err)
	case l.Proof != nil:
		e := l.Proof
		s.add("entry", "proof of profile %s, level %d, realm %s, appraised %s", e.Profile, e.Level, e.Realm, stamp(e.Appraised))
		s.add("place", "%s", placeText(e))
		for _, id := range e.Identities() {
			s.add("names", "%s", id)
		}
		s.add("passed", "%d checks", len(e.Checks))
	case l.Config != nil:
		s.add("entry", "configuration: policy %s in force from %s", l.Config.Policy.SHA256, stamp(l.Config.Time))
	case l.Index != nil:
		s.add("entry", "index of all entries below %d", l.Index.Size)
	case l.Statement != nil:
		s.stated(&l.Statement.Envelope.Statement)
	default:
		s.add("entry", "of a kind or version that is not known")
	}
}

func (s *summary) statement(v *poclog.StatementEnvelope) {
	s.kind = "a statement of a registrar"
	s.stated(&v.Statement)
	s.add("signatures", "%d", len(v.Signatures))
}

func (s *summary) stated(v *poclog.Statement) {
	s.add("statement", "%s by %s, serial %d, for %s", v.Type, v.Registrar, v.Serial, v.Origin)
	if v.Subject != "" {
		s.add("about", "%s", v.Subject)
	}
}

func (s *summary) bundle(file []byte) {
	b, err := poclog.ParseBundle(file)
	if err != nil {
		return
	}
	if p, err := profile.Of(b); err == nil {
		s.add("profile", "%s", p)
	} else {
		s.add("profile", "none: %v", err)
	}
	s.add("items", "%s", itemNames(b))
	if c, err := b.Challenge(); err == nil {
		s.checkpoint("challenge", c.Checkpoint)
	} else {
		s.add("challenge", "none: it is historical evidence")
	}
}

func (s *summary) submission(file []byte) {
	s.kind = "a submission: a bundle, as it is sent to a log"
	sub, err := poclog.ParseSubmission(file)
	if v, verr := poclog.ParseEnvelope(file); verr == nil {
		s.kind = fmt.Sprintf("an envelope: a bundle that publishers signed, with %d signatures", len(v.Signatures))
		sub, err = v.Submission()
	}
	if err != nil {
		return
	}
	s.bundle(sub.Bundle)
	s.add("collateral", "%d bytes", len(sub.Collateral))
	if !sub.Judged.IsZero() {
		s.add("judged", "at %s, if the log takes that", stamp(sub.Judged))
	}
}

func (s *summary) splitView(file []byte) {
	s.kind = "a split view: two histories of one log"
	if v, err := receipt.ParseSplitView(file); err == nil {
		for _, cp := range [][]byte{v.A, v.B} {
			s.checkpoint("history", cp)
		}
	}
}

func (s *summary) dossier(file []byte) {
	s.kind = "a dossier: everything that a log says of some names"
	d, err := poclog.ParseDossier(file)
	if err != nil {
		return
	}
	s.checkpoint("complete", d.Checkpoint)
	for _, n := range d.Names {
		s.add("name", "%s: %s", n.Name, counted(len(n.Numbers), "entry", "entries"))
	}
}

func (s *summary) contradiction(file []byte) {
	s.kind = "a contradiction: entries that cannot all be honest"
	c, err := poclog.ParseContradiction(file)
	if err != nil {
		return
	}
	s.add("rule", "%s", c.Rule)
	for _, claim := range c.Claims {
		if r, err := poclog.ParseReceipt(claim.Receipt); err == nil {
			s.leaf(r.Entry)
			s.checkpoint(fmt.Sprintf("entry %d of", r.Index), r.Inclusion.Checkpoint)
		}
	}
	s.add("evidence", "%s", counted(len(c.Evidence), "file", "files"))
}

func (s *summary) collateral(file []byte) {
	s.kind = "collateral: what manufacturers and registries publish"
	c, err := poclog.ParseCollateral(file)
	if err != nil {
		return
	}
	for _, it := range c.Items {
		s.add("item", "%s, %d bytes", it.Kind, len(it.Body))
	}
	if from, to, err := tdx.Validity(c); err == nil {
		s.add("valid", "from %s until %s, as Intel's parts say", stamp(from), stamp(to))
	}
}

func (s *summary) challenge(file []byte) {
	s.kind = "a challenge of a log"
	if c, err := poclog.ParseChallenge(file); err == nil {
		s.add("profile", "%s", c.Profile)
		s.checkpoint("log", c.Checkpoint)
		s.add("nonce", "%x", c.Nonce())
	}
}

func (s *summary) policy(file []byte) {
	s.kind = "an appraisal policy: what is accepted as evidence"
	p, err := poclog.ParsePolicy(file)
	if err != nil {
		return
	}
	s.add("realm", "%s", p.Realm)
	for _, a := range p.Admit {
		s.add("admits", "%s from level %d on", a.Profile, a.Level)
	}
	s.add("challenges", "at most %s old", time.Duration(p.MaxChallengeAge)*time.Second)
	s.add("digest", "%s", poclog.Sum(file))
}
