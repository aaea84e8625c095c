package rule

import (
	"bytes"
	"fmt"

	"github.com/poclog/poclog"
)

// quoteReplayed: a TEE's quote is kept, and another boot of the TPM quotes it again, so that a VM
// that is long gone seems to run.
//
// Honest operation: a bundle is submitted again, whole or in part, by anybody; or the TPM quotes a
// TEE's quote twice in one boot. In all of these the boot is the same. What a TD's quote signs has
// nothing of its boot but REPORTDATA: a VM that answers one challenge, restarts and answers it
// again signs the same twice, and so does one that a stranger asks twice. But its signature is
// another, and with it the quote's octets, whose hash the TPM signs: only where these are the same
// was the quote kept; elsewhere it is an alert. On SEV-SNP under Azure's paravisor it is one, too,
// for the paravisor may hand out again what it keeps. A bare quote has no boot.
//
// A stranger's TPM may sign over anybody's quote: but the quote names the AK that must
// ([poclog.Entry.Joined]).
//
// Implicated: the AK, which signed both. Affected: the chips. Severity: contradiction, or alert.
var quoteReplayed = Rule{
	ID: "quote-replayed",
	Facets: func(v *View, put func(Facet)) {
		if v.Joined {
			each(put, facetOf(v.Quote, v.Boot))
		}
	},
	Check: func(e, f *Claim, _ Limits) *Finding {
		e, f = ordered(e, f)
		ak := akOf(e.Entry) // none that is not joined
		if e.Entry.Quote != f.Entry.Quote || ak == "" || ak != akOf(f.Entry) || sameBoot(e.Entry, f.Entry) {
			return nil
		}
		out := &Finding{
			Rule: "quote-replayed", Severity: Contradiction, Subject: e.Entry.Quote, Implicated: []string{string(ak)}, Affected: ids(e.Entry.Chip(), f.Entry.Chip()),
			Seen: fmt.Sprintf("%s was covered by %s in boot %d.%d of its TPM and again in boot %d.%d.", e.Entry.Quote, ak,
				e.Entry.TPM.ResetCount, e.Entry.TPM.RestartCount, f.Entry.TPM.ResetCount, f.Entry.TPM.RestartCount),
			Meaning: "A TEE ends with its machine's boot: somebody kept its quote and had another boot quote it again.",
		}
		if !bytes.Equal(e.Entry.TPM.ExtraData, f.Entry.TPM.ExtraData) || e.Entry.Profile == poclog.AzureSNPvTPM || f.Entry.Profile == poclog.AzureSNPvTPM {
			out.Severity, out.Implicated = Alert, nil
			out.Meaning = "The VM answered one challenge before and after a restart, or somebody kept its quote and had another boot quote it again."
		}
		return out
	},
}

// bootForked: a copy of a TPM, with the same counters, saw another boot: one boot has two stories.
// PCR 0 to 7 are the firmware's and have their final values before the operating system runs;
// launch measurement and RTMR 0 and 1 are those of the one TEE that a vTPM belongs to.
//
// Honest operation: later quotes of a boot have other values in PCRs from 8 on, and in RTMR 2 and
// 3, which are not compared. The TPM of a bare-metal machine hears the host's boot and serves many
// TDs: of these launch measurement and RTMRs are not compared. Banks are compared with themselves
// only, and every proof of level 2 has SHA-256. RTMRs that an entry leaves out are zeros. That the
// chip is another is [akOnTwoChips]'s to say.
//
// Implicated: the AK, which signed both. Affected: the chips. Severity: contradiction.
var bootForked = Rule{
	ID: "boot-forked",
	Facets: func(v *View, put func(Facet)) {
		if !v.Joined {
			return
		}
		for _, s := range v.Stories {
			each(put, Facet{Key: [3][]byte{v.AK, v.Boot, s.Of}, Value: s.Told})
		}
	},
	Check: func(e, f *Claim, _ Limits) *Finding {
		e, f = ordered(e, f)
		ak := akOf(e.Entry)
		if ak == "" || ak != akOf(f.Entry) || !sameBoot(e.Entry, f.Entry) {
			return nil
		}
		for _, s := range stories(e.Entry) {
			for _, o := range stories(f.Entry) {
				if s.of == o.of && s.told != o.told {
					return &Finding{
						Rule: "boot-forked", Severity: Contradiction, Subject: ak, Implicated: []string{string(ak)}, Affected: ids(e.Entry.Chip(), f.Entry.Chip()),
						Seen:    fmt.Sprintf("Boot %d.%d of the TPM of %s has two values of %s: %.16s… and %.16s….", e.Entry.TPM.ResetCount, e.Entry.TPM.RestartCount, ak, s.of, s.told, o.told),
						Meaning: "These have their value from before the system runs until the next reset: there are two of the TPM, or its key answers for two machines.",
					}
				}
			}
		}
		return nil
	},
}

// A story is what stays from the firmware's end to the next reset.
type story struct{ of, told string }

func stories(e *poclog.Entry) []story {
	var out []story
	for _, b := range e.TPM.PCRs {
		if b.Firmware != nil {
			out = append(out, story{"PCR 0 to 7 (" + b.Alg + ")", b.Firmware.String()})
		}
	}
	if e.Profile == poclog.BareMetalTDXTPM {
		return out
	}
	out = append(out, story{"the launch measurement", hexOf(e.CVM.Measurement)})
	if e.CVM.Technology == "tdx" {
		var rtmrs [4][48]byte // an entry leaves out what is all zero
		copy(rtmrs[:], e.CVM.RTMRs)
		out = append(out, story{"RTMR 0", hexOf(rtmrs[0][:])}, story{"RTMR 1", hexOf(rtmrs[1][:])})
	}
	return out
}

// tpmRewound: a TPM's counters or its clock went back. A snapshot of a vTPM was restored, or two
// copies of it run.
//
// Honest operation: counters and clock rise. After a power cut the clock may repeat what was not
// yet stored, and is then not safe. An owner who clears his TPM, or restores a backup, has this
// explanation, so that it is an alert. The order must be proven: evidence that arrives late is no
// earlier. Historical evidence has no time, and is not compared.
//
// Implicated: nobody. Affected: the AK and the chips. Severity: alert.
var tpmRewound = Rule{
	ID:     "tpm-rewound",
	Rising: true,
	Facets: func(v *View, put func(Facet)) {
		if !v.Fresh || !v.Joined || len(v.AK) == 0 {
			return
		}
		put(Facet{Key: [3][]byte{v.AK}, Rank: v.Counters})
		put(Facet{Key: [3][]byte{v.AK, v.Boot}, Rank: v.Clock})
	},
	Check: func(e, f *Claim, _ Limits) *Finding {
		switch {
		case e.Entry.Fresh == nil || f.Entry.Fresh == nil || akOf(e.Entry) == "" || akOf(e.Entry) != akOf(f.Entry):
			return nil
		case Before(f, e):
			e, f = f, e
		case !Before(e, f):
			return nil
		}
		a, b := e.Entry.TPM, f.Entry.TPM
		if !older(a, b) && !(sameBoot(e.Entry, f.Entry) && b.Safe && b.Clock < a.Clock) {
			return nil
		}
		ak := akOf(e.Entry)
		return &Finding{
			Rule: "tpm-rewound", Severity: Alert, Subject: ak, Affected: ids(ak, e.Entry.Chip(), f.Entry.Chip()),
			Seen: fmt.Sprintf("The TPM of %s went from boot %d.%d and clock %d ms back to boot %d.%d and clock %d ms.", ak,
				a.ResetCount, a.RestartCount, a.Clock, b.ResetCount, b.RestartCount, b.Clock),
			Meaning: "A snapshot was restored or the TPM cleared by its owner, or two copies of it run.",
		}
	},
}
