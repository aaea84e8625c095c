package main

import (
	"encoding/hex"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/terminal"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/receipt"
)

// printProof shows a proof for people: where and when, which chip and VM, and on whose word. Notes
// are of evidence that was appraised here.
func (v *verifyCmd) printProof(w io.Writer, r *receipt.Verdict, notes map[verify.Check]string) {
	e := r.Entry
	field(w, "place", "%s", placeOr(e))
	if r.Receipt != nil {
		field(w, "made", "%s", madeText(r))
		field(w, "stands on", "%s", standsOn(r))
		if r.Unseen > 0 {
			field(w, "exceptions", "%d other entries, whose evidence the log withheld before its auditors saw it", r.Unseen)
		}
	}
	for _, id := range e.Identities() {
		field(w, identityLabels[id.Kind()], "%s", v.identity(id))
	}
	field(w, "launch", "%s, %s", v.digest(e.CVM.Measurement), endorsed(e.CVM.EndorsedBy))
	if t := e.CVM.TCB; t != nil {
		field(w, "TCB", "%s as of %s, evaluation %d%s", t.Status, t.Date.Format("2006-01-02"), t.Evaluation, advisories(t.Advisories))
	} else {
		marked(w, terminal.Warn, "TCB", "unknown: judged without the manufacturer's collateral")
	}
	for _, key := range e.Publishers {
		field(w, "publisher", "%s", key)
	}
	for _, x := range e.Endorsements {
		field(w, "endorsed", "%s", endorsementText(&x))
	}
	field(w, "profile", "%s, realm %s", e.Profile, e.Realm)
	field(w, "level", "%d: %s", e.Level, levelText(e))
	field(w, "appraised", "%s by policy %s", stamp(e.Appraised), v.digest(e.Evidence.Policy.SHA256[:]))
	if v.verbose {
		v.printDigests(w, r)
	}
	v.printChecks(w, e, notes)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// placeOr is an entry's place, or that it has none.
func placeOr(e *poclog.Entry) string {
	if e.Place == nil {
		return "none: nothing says where the chip stands"
	}
	return placeText(e)
}

func levelText(e *poclog.Entry) string {
	switch {
	case e.Level != poclog.LevelChip:
		return "every required check passed, the VM is bound to its place"
	case !e.Joined() && !e.Profile.ChipOnly():
		return "a genuine chip; the TPM beside it is not bound to it, and the entry names nothing of it"
	}
	return "a genuine chip, its place is unproven"
}

// standsOn says on whose word a receipt's verdict stands.
func standsOn(r *receipt.Verdict) string {
	switch r.Verdict {
	case receipt.Logged:
		return "logged: the log's word alone, no auditor of your policy vouches for it"
	case receipt.Audited:
		return "audited: the appraisal was repeated by " + strings.Join(r.Auditors, ", ")
	}
	return "reappraised: the evidence, which was judged again here"
}

// madeText says between which times the evidence was made, and who says so.
func madeText(r *receipt.Verdict) string {
	by := ""
	if len(r.Witnesses) > 0 {
		by = ", by " + strings.Join(r.Witnesses, ", ")
	}
	switch {
	case r.T1.Known && r.T2.Known:
		return fmt.Sprintf("between %s and %s (%s apart)%s", stamp(r.T1.Time), stamp(r.T2.Time), r.T2.Time.Sub(r.T1.Time).Round(time.Second), by)
	case r.T2.Known:
		return fmt.Sprintf("before %s%s; not known after when: %s", stamp(r.T2.Time), by, r.T1.Why)
	case r.Entry != nil && r.Entry.Fresh != nil:
		return fmt.Sprintf("after size %d of %s and before entry %d was logged; no time: %s", r.After, r.Entry.Fresh.Origin, r.Index, r.T2.Why)
	}
	return fmt.Sprintf("before entry %d was logged; not known after when: %s", r.Index, r.T1.Why)
}

// identityLabels name what an identity is of.
var identityLabels = map[string]string{
	poclog.IntelPPID: "chip", poclog.AMDChipID: "chip", poclog.IntelPIID: "platform", poclog.TPMEK: "TPM", poclog.TPMAK: "TPM key",
	poclog.GCEInstance: "VM", poclog.AzureVM: "VM", poclog.QuoteKind: "quote",
}

// shownHex is how many digits of a digest a verdict shows without -v.
const shownHex = 16

// digest is a digest as a verdict shows it: its beginning, or all of it with -v.
func (v *verifyCmd) digest(b []byte) string {
	s := hex.EncodeToString(b)
	if v.verbose || len(s) <= shownHex {
		return s
	}
	return s[:shownHex] + "…"
}

// identity is an identity as a verdict shows it. The longest that fits is whole.
func (v *verifyCmd) identity(id poclog.Identity) string {
	value := id.Value()
	isHex := id.Kind() != poclog.GCEInstance && id.Kind() != poclog.AzureVM
	if v.verbose || len(value) <= 2*shownHex || !isHex {
		return string(id)
	}
	return id.Kind() + ":" + value[:shownHex] + "…"
}

// longHex finds digests in text.
var longHex = regexp.MustCompile(`[0-9a-f]{33,}`)

// short is text with the beginnings of its digests, or all of it with -v.
func (v *verifyCmd) short(text string) string {
	if v.verbose {
		return text
	}
	return longHex.ReplaceAllStringFunc(text, func(s string) string { return s[:shownHex] + "…" })
}

// printDigests shows the digests that -v adds.
func (v *verifyCmd) printDigests(w io.Writer, r *receipt.Verdict) {
	e := r.Entry
	for _, b := range []struct {
		label string
		blob  poclog.Blob
	}{{"bundle", e.Evidence.Bundle}, {"envelope", e.Evidence.Envelope}, {"collateral", e.Evidence.Collateral}} {
		if b.blob != (poclog.Blob{}) {
			field(w, b.label, "%s, %d bytes", b.blob.SHA256, b.blob.Size)
		}
	}
	if e.Fresh != nil {
		field(w, "user data", "%s", e.Fresh.UserData)
		field(w, "challenge", "%s at size %d of %s", e.Fresh.Checkpoint, e.Fresh.Size, e.Fresh.Origin)
	}
	if r.Receipt != nil {
		field(w, "root", "%s", r.Root)
		field(w, "leaf", "%s", r.LeafHash)
	}
}

// printChecks lists the checks that passed, and each that was not made with what stays open.
func (v *verifyCmd) printChecks(w io.Writer, e *poclog.Entry, notes map[verify.Check]string) {
	if v.verbose {
		for _, c := range e.Checks {
			field(w, "passed", "%s  %s", c, notes[verify.Check(c)])
		}
	} else {
		field(w, "passed", "%d checks: %s", len(e.Checks), strings.Join(e.Checks, " "))
	}
	open := false
	for _, c := range notMade(e) {
		x, _ := explained(c)
		text := c
		if n := notes[verify.Check(c)]; n != "" {
			text += ": " + n
		}
		if x.open == "" {
			field(w, "absent", "%s", text)
			continue
		}
		open = true
		marked(w, terminal.Warn, "absent !", "%s. Open: %s", text, x.open)
	}
	if open {
		field(w, "", "! matters: poclog explain CHECK says what to do")
	}
}

// notMade are the checks that an entry calls absent and, where it claims a place, the provider's
// list of chips even if the entry is silent about it: without it a relay is possible.
func notMade(e *poclog.Entry) []string {
	registry := string(verify.PlaceRegistry)
	if e.Level == poclog.LevelChip || slices.Contains(e.Checks, registry) || slices.Contains(e.Absent, registry) {
		return e.Absent
	}
	return append(slices.Clone(e.Absent), registry)
}

// placeText is an entry's place and who says so, or "-" where nobody does. Parts that the entry
// does not prove come last, and are called so.
func placeText(e *poclog.Entry) string {
	if e.Place == nil {
		return "-"
	}
	var proven, hints []string
	p := e.ProvenPlace()
	for _, c := range []struct{ said, proven poclog.Claim }{{e.Place.Provider, p.Provider}, {e.Place.Region, p.Region}, {e.Place.Zone, p.Zone}} {
		text := fmt.Sprintf("%s (%s)", c.said.Value, strings.Join(c.said.By, ", "))
		switch {
		case c.proven.Value != "":
			proven = append(proven, text)
		case c.said.Value != "":
			hints = append(hints, text)
		}
	}
	if len(hints) > 0 {
		proven = append(proven, "unproven: "+strings.Join(hints, ", "))
	}
	return strings.Join(proven, ", ")
}

func endorsed(by string) string {
	if by == "" {
		return "not endorsed"
	}
	return "endorsed by the " + by
}

func advisories(ids []string) string {
	if len(ids) == 0 {
		return ""
	}
	return " (" + strings.Join(ids, ", ") + ")"
}
