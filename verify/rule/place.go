package rule

import (
	"fmt"
	"slices"
	"strings"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
)

// A where is an authenticated place; empty where nobody says.
type where struct{ provider, region, zone string }

func placeOf(e *poclog.Entry) where {
	p := e.ProvenPlace()
	return where{p.Provider.Value, p.Region.Value, p.Zone.Value}
}

func (w where) String() string {
	parts := slices.DeleteFunc([]string{w.provider, w.region, w.zone}, func(s string) bool { return s == "" })
	return strings.Join(parts, "/")
}

// differs reports whether no machine can stand in both. What one of them leaves open does not
// differ. Names within a provider mean nothing elsewhere.
func (w where) differs(o where) bool {
	if w.provider == "" || w.provider != o.provider {
		return w.provider != "" && o.provider != ""
	}
	return w.region != "" && o.region != "" && w.region != o.region || w.zone != "" && o.zone != "" && w.zone != o.zone
}

// chipInTwoPlaces: the key of one chip, extracted, answers for VMs in two places; or TDs on one
// chip are bound to TPMs rented elsewhere.
//
// Honest operation: a machine is relocated, which takes the move time, and is certified anew. Hints
// place nothing, nor does level 0. Evidence that arrives late, or a receipt without its first
// checkpoint, makes intervals wider: so two places contradict only if both proofs were certainly
// made within the move time of each other. Where that much certainly lies between them it is
// [Moved]; anything else, and where no clock is known, is an alert. A provider who moves a machine
// has to withdraw the certificates that place it.
//
// Implicated: nobody. A tenant may bind a key that he rents elsewhere to a chip that he shares with
// others, and no key says where it is: its certificate does, by whom the appraisal policy lists.
// Affected: the chip. Severity: contradiction, or alert under a VLEK ([onFirmwaresWord]).
var chipInTwoPlaces = Rule{
	ID: "chip-in-two-places",
	Facets: func(v *View, put func(Facet)) {
		if v.Proven {
			each(put, facetOf(v.Chip, v.Place))
		}
	},
	Check: func(e, f *Claim, l Limits) *Finding {
		e, f = ordered(e, f)
		chip, here, there := e.Entry.Chip(), placeOf(e.Entry), placeOf(f.Entry)
		if chip == "" || chip != f.Entry.Chip() || !here.differs(there) {
			return nil
		}
		out := &Finding{Rule: "chip-in-two-places", Subject: chip, Affected: ids(chip)}
		switch took := l.moveTime(); {
		case within(e, f, took):
			out.Severity = Contradiction
			out.Seen = fmt.Sprintf("%s is said to stand in %s and in %s within %s.", chip, here, there, span(e, f))
			out.Meaning = "No machine is moved so fast: the chip's key was extracted and answers elsewhere, or somebody binds the TPM of another place to TEEs on it, or certified what is not so."
		case apart(e, f, took):
			out.Rule, out.Severity = Moved, Information
			out.Seen = fmt.Sprintf("%s was said to stand in %s and, over %s apart, in %s.", chip, here, took, there)
			out.Meaning = "A machine that its provider relocates is certified for its new place."
		default:
			out.Severity = Alert
			out.Seen = fmt.Sprintf("%s is said to stand in %s and in %s, at times that are not known to be %s apart.", chip, here, there, took)
			out.Meaning = "The provider relocated the machine, or the chip's key answers elsewhere."
		}
		return onFirmwaresWord(e, f, out)
	},
}

func span(e, f *Claim) string {
	return verify.Later(e.T2, f.T2).Sub(verify.Earlier(e.T1, f.T1)).String()
}

// twoAKsForInstance: the provider's CA certified two keys of one type for one Compute Engine
// instance: the instance has two TPMs, or somebody has the CA's key.
//
// Honest operation: an instance has an RSA and an ECC AK, derived from its endorsement seed, for
// life; a clone of its disk is another instance with keys of its own. On Azure keys come and go
// with the TPM's state: the rule is not for it. Who the instance's AK answers for does not matter,
// nor when.
//
// Implicated: the provider. Affected: the instance and both keys. Severity: contradiction.
var twoAKsForInstance = Rule{
	ID: "two-aks-for-instance",
	Facets: func(v *View, put func(Facet)) {
		if v.GCE && v.Joined {
			each(put, facetOf(v.Instance, v.AK).within(v.KeyType))
		}
	},
	Check: func(e, f *Claim, _ Limits) *Finding {
		e, f = ordered(e, f)
		ak, other := akOf(e.Entry), akOf(f.Entry)
		if !gceInstance(e.Entry) || !gceInstance(f.Entry) || e.Entry.Instance != f.Entry.Instance || e.Entry.TPM.KeyType != f.Entry.TPM.KeyType || ak == other {
			return nil
		}
		return &Finding{
			Rule: "two-aks-for-instance", Severity: Contradiction, Subject: e.Entry.Instance, Implicated: []string{"provider:gce"}, Affected: ids(e.Entry.Instance, ak, other),
			Seen:    fmt.Sprintf("%s has two attestation keys of type %s: %s and %s.", e.Entry.Instance, e.Entry.TPM.KeyType, ak, other),
			Meaning: "An instance keeps its keys for life: its provider certified another's TPM for it, or somebody has the provider's CA.",
		}
	},
}

func gceInstance(e *poclog.Entry) bool {
	return e.Profile == poclog.GCETDXvTPM && e.Instance.Kind() == poclog.GCEInstance && akOf(e) != ""
}

// twoTPMsOnChassis: the TPMs of two rented machines answer for the TDs of one chip.
//
// Honest operation: a board's TPM breaks, and with the machine off another takes its place, whose
// keys the provider certifies: that takes the swap time. As with [chipInTwoPlaces], only what was
// certainly made within that time contradicts, and what was certainly that far apart is [Moved].
// Managed VMs have a TPM each, many on a chip: the rule is for bare metal alone.
//
// Implicated: nobody; each TPM signed one side. Affected: the chip and both EKs. Severity:
// contradiction.
var twoTPMsOnChassis = Rule{
	ID: "two-tpms-on-chassis",
	Facets: func(v *View, put func(Facet)) {
		if v.Metal && v.Proven {
			each(put, facetOf(v.Chip, v.EK))
		}
	},
	Check: func(e, f *Claim, l Limits) *Finding {
		e, f = ordered(e, f)
		chip, ek, other := e.Entry.Chip(), metalEK(e.Entry), metalEK(f.Entry)
		if chip == "" || chip != f.Entry.Chip() || ek == "" || other == "" || ek == other {
			return nil
		}
		out := &Finding{Rule: "two-tpms-on-chassis", Subject: chip, Affected: ids(chip, ek, other)}
		switch took := l.swapTime(); {
		case within(e, f, took):
			out.Severity = Contradiction
			out.Seen = fmt.Sprintf("%s has the TPM %s and the TPM %s within %s.", chip, ek, other, span(e, f))
			out.Meaning = "A machine has one TPM: that of another machine answers for TDs on this chip, or this chip's key was extracted and answers on another machine."
		case apart(e, f, took):
			out.Rule, out.Severity = Moved, Information
			out.Seen = fmt.Sprintf("%s had the TPM %s and, over %s apart, the TPM %s.", chip, ek, took, other)
			out.Meaning = "A TPM that breaks is replaced."
		default:
			out.Severity = Alert
			out.Seen = fmt.Sprintf("%s has the TPM %s and the TPM %s, at times that are not known to be %s apart.", chip, ek, other, took)
			out.Meaning = "The machine's TPM was replaced, or the TPM of another machine answers for TDs on this chip."
		}
		return out
	},
}

// metalEK is the EK of a machine's own TPM.
func metalEK(e *poclog.Entry) poclog.Identity {
	if e.Profile != poclog.BareMetalTDXTPM || !proven(e) {
		return ""
	}
	return first(e.Chassis, poclog.TPMEK)
}
