package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/poclog/poclog"
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

func (s *summary) receipt(file []byte) (any, error) {
	r, err := poclog.ParseReceipt(file)
	if err != nil {
		return nil, err
	}
	s.kind = fmt.Sprintf("a receipt of entry %d", r.Index)
	s.entry(r.Entry)
	s.checkpoint("log", r.Inclusion.Checkpoint)
	if len(r.Challenge) > 0 {
		s.checkpoint("challenge", r.Challenge)
	}
	if r.First != nil {
		s.checkpoint("first", r.First.Checkpoint)
	}
	return shownReceipt(r), nil
}

func shownReceipt(r *poclog.Receipt) any {
	out := map[string]any{"v": 1, "file": "receipt", "index": r.Index, "entry": shownLeaf(r.Entry), "proof_hashes": len(r.Inclusion.Hashes)}
	for name, cp := range map[string][]byte{"checkpoint": r.Inclusion.Checkpoint, "challenge": r.Challenge} {
		if len(cp) > 0 {
			out[name] = describeCheckpoint(cp)
		}
	}
	var notes []any
	for _, n := range r.Exceptions {
		if _, err := poclog.ParseExceptions(n); err != nil {
			notes = append(notes, map[string]any{"error": err.Error()})
			continue
		}
		notes = append(notes, json.RawMessage(n))
	}
	if len(notes) > 0 {
		out["exceptions"] = notes
	}
	if r.First != nil {
		out["first"] = describeCheckpoint(r.First.Checkpoint)
	}
	return out
}

func (s *summary) entry(leaf []byte) {
	l, err := poclog.ParseLeaf(leaf)
	if err != nil {
		s.add("entry", "malformed: %v", err)
		return
	}
	s.leaf(l)
}

// leaf says what an entry claims.
func (s *summary) leaf(l poclog.Leaf) {
	switch {
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

// statement shows a statement and who signed it. The signatures are not verified: that needs a
// registrar's keys.
func (s *summary) statement(v *poclog.StatementEnvelope) (any, error) {
	s.kind = "a statement of a registrar"
	s.stated(&v.Statement)
	s.add("signatures", "%d", len(v.Signatures))
	file, err := v.Statement.Marshal()
	if err != nil {
		return nil, err
	}
	return map[string]any{"v": 1, "file": "statement", "statement": json.RawMessage(file), "sha256": poclog.Sum(file), "signed_by": signersOf(v.Signatures)}, nil
}

func (s *summary) stated(v *poclog.Statement) {
	s.add("statement", "%s by %s, serial %d, for %s", v.Type, v.Registrar, v.Serial, v.Origin)
	if v.Subject != "" {
		s.add("about", "%s", v.Subject)
	}
}

func (s *summary) bundle(file []byte) (any, error) {
	b, err := poclog.ParseBundle(file)
	if err != nil {
		return nil, err
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
	type item struct {
		Item   poclog.Item   `json:"item"`
		Size   int           `json:"size"`
		SHA256 poclog.Digest `json:"sha256"`
	}
	var items []item
	for _, i := range b.Items() {
		items = append(items, item{i, len(b.Get(i)), poclog.Sum(b.Get(i))})
	}
	out := map[string]any{"v": 1, "file": "bundle", "sha256": poclog.Sum(file), "items": items}
	if b.Has(poclog.ItemChallenge) {
		out["challenge"] = json.RawMessage(b.Get(poclog.ItemChallenge))
	}
	return out, nil
}

func (s *summary) submission(sub *poclog.Submission) {
	_, _ = s.bundle(sub.Bundle) // what is no bundle is left out
	s.besideBundle(sub)
}

func (s *summary) besideBundle(sub *poclog.Submission) {
	s.add("collateral", "%d bytes", len(sub.Collateral))
	if !sub.Judged.IsZero() {
		s.add("judged", "at %s, if the log takes that", stamp(sub.Judged))
	}
}

func (s *summary) envelope(file []byte) (any, error) {
	v, err := poclog.ParseEnvelope(file)
	if err != nil {
		return nil, err
	}
	sub, err := v.Submission()
	if err != nil {
		return nil, err
	}
	s.kind = fmt.Sprintf("an envelope: a bundle that publishers signed, with %d signatures", len(v.Signatures))
	bundle, err := s.bundle(sub.Bundle)
	if err != nil {
		return nil, err
	}
	s.besideBundle(sub)
	out := map[string]any{"v": 1, "file": "envelope", "sha256": poclog.Sum(file), "payload_type": v.PayloadType, "signed_by": signersOf(v.Signatures), "bundle": bundle}
	if len(sub.Collateral) > 0 {
		if out["collateral"], err = new(summary).collateral(sub.Collateral); err != nil {
			return nil, err
		}
	}
	if !sub.Judged.IsZero() {
		out["judged"] = sub.Judged
	}
	return out, nil
}

func (s *summary) splitView(v *receipt.SplitView) {
	s.checkpoint("history", v.A)
	s.checkpoint("history", v.B)
}

func (s *summary) exceptions(e *poclog.Exceptions) {
	s.add("auditor", "%s", e.Auditor)
	s.add("log", "%s at size %d", e.Origin, e.Size)
	s.add("entries", "%s", strings.Trim(fmt.Sprint(e.Except), "[]"))
}

func (s *summary) opening(o *poclog.Opening) {
	s.add("machine", "%s", o.Identity)
	s.add("root", "%s", o.Root)
}

func (s *summary) dossier(file []byte) (any, error) {
	d, err := poclog.ParseDossier(file)
	if err != nil {
		return nil, err
	}
	s.checkpoint("complete", d.Checkpoint)
	type listed struct {
		Name    string   `json:"name"`
		Numbers []uint64 `json:"numbers,omitempty"`
		Before  bool     `json:"not_from_the_first,omitempty"`
	}
	var names []listed
	for _, n := range d.Names {
		s.add("name", "%s: %s", n.Name, counted(len(n.Numbers), "entry", "entries"))
		names = append(names, listed{n.Name, n.Numbers, n.Before != nil})
	}
	entries := 0
	for _, p := range d.Pages {
		entries += len(p.Entries)
	}
	index, err := poclog.ParseReceipt(d.Index)
	if err != nil {
		return nil, err
	}
	out := map[string]any{
		"v": 1, "file": "dossier", "checkpoint": describeCheckpoint(d.Checkpoint), "names": names, "entries": entries, "pages": len(d.Pages), "index": shownReceipt(index),
	}
	if len(d.Since) > 0 {
		out["since"] = describeCheckpoint(d.Since)
	}
	return out, nil
}

// contradiction shows the receipts, and names the evidence.
func (s *summary) contradiction(file []byte) (any, error) {
	c, err := poclog.ParseContradiction(file)
	if err != nil {
		return nil, err
	}
	s.add("rule", "%s", c.Rule)
	var entries []any
	for i, claim := range c.Claims {
		r, err := poclog.ParseReceipt(claim.Receipt)
		if err != nil {
			return nil, fmt.Errorf("entry %d of the file: %w", i+1, err)
		}
		s.entry(r.Entry)
		s.checkpoint(fmt.Sprintf("entry %d of", r.Index), r.Inclusion.Checkpoint)
		entries = append(entries, shownReceipt(r))
	}
	s.add("evidence", "%s", counted(len(c.Evidence), "file", "files"))
	type evidence struct {
		SHA256 poclog.Digest `json:"sha256"`
		Size   int           `json:"size"`
	}
	files := []evidence{}
	for _, f := range c.Evidence {
		files = append(files, evidence{poclog.Sum(f), len(f)})
	}
	return map[string]any{"v": 1, "file": "contradiction", "rule": c.Rule, "policy": string(c.Policy), "receipts": entries, "evidence": files}, nil
}

func (s *summary) collateral(file []byte) (any, error) {
	c, err := poclog.ParseCollateral(file)
	if err != nil {
		return nil, err
	}
	type item struct {
		Kind poclog.CollateralKind `json:"kind"`
		URL  string                `json:"url,omitempty"`
		Size int                   `json:"size"`
		Body json.RawMessage       `json:"body,omitempty"` // where it is JSON
		Says any                   `json:"says,omitempty"` // of endorsements
	}
	var items []item
	for _, it := range c.Items {
		s.add("item", "%s, %d bytes", it.Kind, len(it.Body))
		shown := item{Kind: it.Kind, URL: it.URL, Size: len(it.Body), Says: inspectEndorsement(&it)}
		if json.Valid(it.Body) {
			shown.Body = it.Body
		}
		items = append(items, shown)
	}
	if from, to, err := tdx.Validity(c); err == nil {
		s.add("valid", "from %s until %s, as Intel's parts say", stamp(from), stamp(to))
	}
	return map[string]any{"v": 1, "file": "collateral", "sha256": poclog.Sum(file), "items": items}, nil
}

func (s *summary) challenge(c *poclog.Challenge) {
	s.add("profile", "%s", c.Profile)
	s.checkpoint("log", c.Checkpoint)
	s.add("nonce", "%x", c.Nonce())
}

func (s *summary) policy(file []byte) (any, error) {
	p, err := poclog.ParsePolicy(file)
	if err != nil {
		return nil, err
	}
	s.add("realm", "%s", p.Realm)
	for _, a := range p.Admit {
		s.add("admits", "%s from level %d on", a.Profile, a.Level)
	}
	s.add("challenges", "at most %s old", time.Duration(p.MaxChallengeAge)*time.Second)
	s.add("digest", "%s", poclog.Sum(file))
	return json.RawMessage(file), nil
}
