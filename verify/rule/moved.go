package rule

import (
	"fmt"
	"slices"

	"github.com/poclog/poclog"
)

// Moved is the finding that a key, an EK or an instance was on one chip and then on another, as
// when a VM is stopped and started elsewhere: information.
const Moved = "moved"

// akOnTwoChips: the attacker has one AK answer for TEEs on two chips: a vTPM that was copied, or
// one that is rented in a data center and asked for quotes by a chip at home.
//
// Honest operation: a VM is stopped and started on another chip, or on the other socket of its
// host, which resets its TPM: the counters rise. A guest that hibernates raises the restart count.
// A machine with several packages has one PPID, as its packages share the platform's keys. Evidence
// that arrives late is of its own boot still. So within one boot there is one chip, whatever the
// times, and no clock is asked. Another boot on another chip is [Moved], however near, and an alert
// only if it was certainly made after a later boot: a snapshot was restored or the TPM cleared, or
// there are two of it.
//
// A stranger cannot bring an AK and a chip together: the TEE's quote has to name the AK, and the AK
// to sign for that quote ([poclog.Entry.Joined]). A tenant who has his key answer for another's
// chip implicates his key. Under a VLEK the chip is the firmware's word, and the finding an alert
// ([onFirmwaresWord]).
//
// Implicated: the AK. Affected: both chips. Severity: contradiction, or alert under a VLEK.
var akOnTwoChips = onTwoChips("ak-on-two-chips", akOf, (*poclog.Entry).Joined, func(v *View, put func(Facet)) {
	if v.Joined {
		each(put, facetOf(v.AK, v.Chip))
	}
})

// ekOnTwoChips: one EK stands for the TPMs of two machines: the provider was made to certify keys
// under it for both, or a TPM answers for two machines.
//
// Honest operation is that of [akOnTwoChips]. Two keys of one TPM have its counters in common,
// where those can be compared; keys whose counters cannot be compared tell no boots apart, and give
// [Moved]. Azure's paravisor may have a new TPM at every start: its EK counts where the AK is the
// same.
//
// Implicated: an AK that signed both sides; else nobody, for an appraisal policy says who may
// certify EKs, and a log's operator may list whom he likes. Affected: the EK and both chips.
// Severity: contradiction.
var ekOnTwoChips = onTwoChips("ek-on-two-chips", ekOf, proven, func(v *View, put func(Facet)) {
	if v.Proven {
		onChip := facetOf(v.EK, v.Chip)
		each(put, onChip, onChip.within(v.Boot))
	}
})

// instanceOnTwoChips: one instance is said to run on two chips.
//
// Honest operation is that of [akOnTwoChips]. A Compute Engine instance has an RSA and an ECC AK in
// one TPM, whose counters are the same; one that shows two AKs of one type is
// [twoAKsForInstance]'s. On Azure, TPMs come and go with the paravisor's state: only one AK's boots
// are compared.
//
// Implicated: an AK that signed both sides, or else the Compute Engine instance, both of whose keys
// did. Affected: both chips. Severity: contradiction.
var instanceOnTwoChips = onTwoChips("instance-on-two-chips", func(e *poclog.Entry) poclog.Identity { return e.Instance }, proven, func(v *View, put func(Facet)) {
	if v.Proven {
		onChip := facetOf(v.Instance, v.Chip)
		each(put, onChip, onChip.within(v.Boot))
	}
})

func onTwoChips(id string, subject func(*poclog.Entry) poclog.Identity, counts func(*poclog.Entry) bool, facets func(*View, func(Facet))) Rule {
	return Rule{
		ID: id, Facets: facets,
		Check: func(e, f *Claim, _ Limits) *Finding {
			s, chip, other := subject(e.Entry), e.Entry.Chip(), f.Entry.Chip()
			if s == "" || s != subject(f.Entry) || chip == "" || other == "" || chip == other || !counts(e.Entry) || !counts(f.Entry) {
				return nil
			}
			return onFirmwaresWord(e, f, seenOnTwoChips(id, s, e, f))
		},
	}
}

// seenOnTwoChips finds what it means that a subject was on two chips.
func seenOnTwoChips(id string, subject poclog.Identity, e, f *Claim) *Finding {
	e, f = ordered(e, f)
	if onePlatform(e.Entry, f.Entry) {
		return nil
	}
	chip, other := e.Entry.Chip(), f.Entry.Chip()
	out := &Finding{Rule: id, Subject: subject, Affected: ids(subject, chip, other)}
	switch comparable := oneTPM(e.Entry, f.Entry); {
	case comparable && sameBoot(e.Entry, f.Entry):
		out.Severity, out.Implicated = Contradiction, signers(subject, e.Entry, f.Entry)
		out.Affected = without(out.Affected, out.Implicated)
		out.Seen = fmt.Sprintf("%s answered for a TEE on %s and for one on %s in one boot of its TPM (reset %d, restart %d).",
			subject, chip, other, e.Entry.TPM.ResetCount, e.Entry.TPM.RestartCount)
		out.Meaning = "A TPM runs on one machine from one reset to the next: somebody relays its commands to another machine, or there are two of it."
	case comparable && (Before(e, f) && older(e.Entry.TPM, f.Entry.TPM) || Before(f, e) && older(f.Entry.TPM, e.Entry.TPM)):
		out.Severity = Alert
		out.Seen = fmt.Sprintf("%s answered for TEEs on %s and on %s, and the later evidence is of an earlier boot of its TPM.", subject, chip, other)
		out.Meaning = "A snapshot was restored on another machine or the TPM was cleared, or two copies of it run."
	default:
		out.Rule, out.Severity = Moved, Information
		out.Seen = fmt.Sprintf("%s answered for a TEE on %s, and in another boot for one on %s.", subject, chip, other)
		out.Meaning = "A VM that is stopped and started may find itself on another chip."
	}
	return out
}

// onePlatform reports whether two chips are packages of one machine: they share its platform
// instance.
func onePlatform(e, f *poclog.Entry) bool {
	piid := first(e.Chassis, poclog.IntelPIID)
	return piid != "" && piid == first(f.Chassis, poclog.IntelPIID)
}

// oneTPM reports whether two entries' counters are of one TPM. That neither names an AK makes them
// no one's.
func oneTPM(e, f *poclog.Entry) bool {
	if ak := akOf(e); ak != "" && ak == akOf(f) {
		return true
	}
	return !isAzure(e) && !isAzure(f) && sameCounters(e, f) && twoKeysOfOne(e, f)
}

// twoKeysOfOne reports whether two AKs may be in one TPM: a managed instance has one of each type,
// a machine's TPM as many as its provider certifies.
func twoKeysOfOne(e, f *poclog.Entry) bool {
	return e.Profile == poclog.BareMetalTDXTPM && f.Profile == poclog.BareMetalTDXTPM || e.TPM.KeyType != f.TPM.KeyType
}

// signers is who signed both sides: one AK, or the two of an instance. Whoever certified them is in
// no entry, but by a name that a policy gives.
func signers(subject poclog.Identity, e, f *poclog.Entry) []string {
	switch ak := akOf(e); {
	case ak != "" && ak == akOf(f):
		return []string{string(ak)}
	case subject.Kind() == poclog.GCEInstance:
		return []string{string(subject)}
	}
	return nil
}

// without leaves out of a list whoever is implicated.
func without(list []poclog.Identity, implicated []string) []poclog.Identity {
	return slices.DeleteFunc(slices.Clone(list), func(id poclog.Identity) bool { return slices.Contains(implicated, string(id)) })
}
