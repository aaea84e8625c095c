package rule

import (
	"fmt"

	"github.com/poclog/poclog"
)

// piidOnTwoPPIDs: one platform instance is certified for two chips. Both stand in one certificate
// of Intel's, so that nobody but its holder of the CA's key, or Intel in error, can make two that
// disagree.
//
// Honest operation: a platform that is provisioned anew keeps its PPID and gets another PIID, which
// is one PPID with two PIIDs. A machine with several packages has one of each, for its packages
// share the platform's keys. No order and no clock is asked.
//
// Implicated: Intel's CA. Affected: both chips. Severity: contradiction.
var piidOnTwoPPIDs = Rule{
	ID:     "piid-on-two-ppids",
	Facets: func(v *View, put func(Facet)) { each(put, facetOf(v.PIID, v.PPID)) },
	Check: func(e, f *Claim, _ Limits) *Finding {
		e, f = ordered(e, f)
		piid, ppid, other := first(e.Entry.Chassis, poclog.IntelPIID), first(e.Entry.Chassis, poclog.IntelPPID), first(f.Entry.Chassis, poclog.IntelPPID)
		if piid == "" || piid != first(f.Entry.Chassis, poclog.IntelPIID) || ppid == "" || other == "" || ppid == other {
			return nil
		}
		return &Finding{
			Rule: "piid-on-two-ppids", Severity: Contradiction, Subject: piid, Implicated: []string{"maker:intel"}, Affected: ids(ppid, other),
			Seen:    fmt.Sprintf("%s is certified for %s and for %s.", piid, ppid, other),
			Meaning: "A platform instance is one machine's: the chip maker's CA certified two, or somebody else has its key.",
		}
	},
}

// chipStaticChanged: what does not change on a chip did: FMSPC or PCEID of a PPID, or the product
// of a CHIP_ID. Two chips answer to one name.
//
// Honest operation: firmware updates change the security version, and provisioning anew the PIID;
// neither changes these. All stand in the maker's certificates. A masked CHIP_ID is no identity. No
// order and no clock is asked. Under a VLEK the CHIP_ID is in no certificate ([onFirmwaresWord]).
//
// Implicated: the chip maker's CA. Affected: the chip. Severity: contradiction, or alert under a
// VLEK.
var chipStaticChanged = Rule{
	ID:     "chip-static-changed",
	Facets: func(v *View, put func(Facet)) { each(put, facetOf(v.Chip, v.Static)) },
	Check: func(e, f *Claim, _ Limits) *Finding {
		e, f = ordered(e, f)
		chip, one, two := e.Entry.Chip(), static(e.Entry), static(f.Entry)
		if chip == "" || chip != f.Entry.Chip() || one == "" || two == "" || one == two {
			return nil
		}
		maker := "maker:intel"
		if chip.Kind() == poclog.AMDChipID {
			maker = "maker:amd"
		}
		return onFirmwaresWord(e, f, &Finding{
			Rule: "chip-static-changed", Severity: Contradiction, Subject: chip, Implicated: []string{maker}, Affected: ids(chip),
			Seen:    fmt.Sprintf("%s is a chip of %s, and one of %s.", chip, one, two),
			Meaning: "No update changes this: two chips have one name, certified by their maker or by somebody who has its key.",
		})
	},
}

// static is what never changes on a chip, in words.
func static(e *poclog.Entry) string {
	switch {
	case e.CVM.SNP != nil:
		return "product " + e.CVM.SNP.Product
	case len(e.CVM.FMSPC) > 0 && len(e.CVM.PCEID) > 0:
		return "FMSPC " + hexOf(e.CVM.FMSPC) + " and PCEID " + hexOf(e.CVM.PCEID)
	}
	return ""
}

// ChipCertified reports whether the maker's certificate names an entry's chip. A VLEK's certificate
// names a cloud: CHIP_ID is then what the firmware says.
func ChipCertified(e *poclog.Entry) bool { return e.CVM.SNP == nil || e.CVM.SNP.Signer != "vlek" }

// onFirmwaresWord makes an alert of a contradiction between chips that are not both certified.
// Whoever has one cloud's VLEK, or old firmware that signs what it is told, writes any CHIP_ID into
// a report. So it convicts neither the chip's maker nor whoever else signed, and does not show
// where the chip is.
func onFirmwaresWord(e, f *Claim, out *Finding) *Finding {
	if out == nil || out.Severity != Contradiction || ChipCertified(e.Entry) && ChipCertified(f.Entry) {
		return out
	}
	out.Severity, out.Implicated = Alert, nil
	out.Affected = ids(append(out.Affected, akOf(e.Entry), akOf(f.Entry))...)
	out.Meaning = "A report under a VLEK names its chip on the word of a cloud's firmware alone: that firmware is wrong or old, or somebody has the cloud's VLEK, or what the entries say is so."
	return out
}
