package rule

import (
	"encoding/hex"
	"slices"

	"github.com/poclog/poclog"
)

// first returns the identity of a kind among some, or "".
func first(ids []poclog.Identity, kind string) poclog.Identity {
	for _, id := range ids {
		if id.Kind() == kind {
			return id
		}
	}
	return ""
}

// akOf returns the AK that an entry binds to its TEE. An entry that is not joined names none
// ([poclog.Entry.Joined]).
func akOf(e *poclog.Entry) poclog.Identity {
	if !e.Joined() {
		return ""
	}
	return first(e.Keys, poclog.TPMAK)
}

// ekOf returns the endorsement key: the chassis's own on bare metal, the VM's where the paravisor
// has one.
func ekOf(e *poclog.Entry) poclog.Identity {
	if id := first(e.Chassis, poclog.TPMEK); id != "" {
		return id
	}
	return first(e.Keys, poclog.TPMEK)
}

// proven reports level 2: what the provider says of instance, EK and place counts.
func proven(e *poclog.Entry) bool { return e.Level >= poclog.LevelBound && e.Joined() }

// isAzure: the paravisor's vTPM may start anew, and lose its keys, while the VM stays.
func isAzure(e *poclog.Entry) bool {
	return e.Profile == poclog.AzureTDXvTPM || e.Profile == poclog.AzureSNPvTPM
}

func sameBoot(e, f *poclog.Entry) bool {
	return e.TPM.ResetCount == f.TPM.ResetCount && e.TPM.RestartCount == f.TPM.RestartCount
}

// sameCounters reports whether the counters of two entries can be compared. A TPM adds to the
// counters and to its firmware's version a number of the key's own, unless the key is of the
// endorsement or platform hierarchy (TPM 2.0 Part 2, TPMS_ATTEST): those of one key compare, and
// those of two where the version agrees.
func sameCounters(e, f *poclog.Entry) bool {
	return akOf(e) == akOf(f) || e.TPM.Firmware == f.TPM.Firmware
}

// older reports whether f's counters are behind e's. They wrap around, for a TPM may add a number
// to them: of two that are half the way apart neither is behind the other.
func older(e, f *poclog.TPM) bool {
	behind := e.ResetCount - f.ResetCount
	if behind == 0 {
		behind = e.RestartCount - f.RestartCount
	}
	return behind > 0 && behind < 1<<31
}

func hexOf(b []byte) string { return hex.EncodeToString(b) }

func ids(list ...poclog.Identity) []poclog.Identity {
	var out []poclog.Identity
	for _, id := range list {
		if id != "" && !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

// ordered returns two claims so that every rule says the same whichever came first: by log and
// number.
func ordered(e, f *Claim) (*Claim, *Claim) {
	if f.Origin < e.Origin || f.Origin == e.Origin && f.Index < e.Index {
		return f, e
	}
	return e, f
}
