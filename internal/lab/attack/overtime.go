package attack

import (
	"crypto/sha256"
	"slices"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/gce"
	"github.com/poclog/poclog/internal/must"
)

// ExistingReceipt is what a log answers to evidence that it has: no rule is needed.
const ExistingReceipt = "existing-receipt"

// An OverTime attack is evidence of which each piece passes: a log admits it, and a monitor's rule
// exposes it.
type OverTime struct {
	Name    string
	Rule    string // of docs/format.md's contradictions, or ExistingReceipt
	Stage   func(w *World) []*poclog.Bundle
	Profile poclog.Profile // under which it is tried; the zero value is gce-tdx-vtpm
}

// ID names an attack among those of all profiles.
func (a *OverTime) ID() string { return idOf(a.Profile, a.Name) }

// NewWorld builds the world in which it is tried.
func (a *OverTime) NewWorld() *World { return NewWorldOf(a.Profile) }

// AllSeries are the attacks that only time exposes, of every profile.
func AllSeries() []OverTime {
	return slices.Concat(Series, bareMetalOverTime, azureOverTime, chipOnlyOverTime)
}

// Series are the attacks under profile gce-tdx-vtpm that only time exposes.
var Series = []OverTime{
	{Name: "bundle-rewrapped", Rule: ExistingReceipt, Stage: rewrapped},
	{Name: "quote-replayed", Rule: "quote-replayed", Stage: func(w *World) []*poclog.Bundle {
		// The TD's quote is kept, and another boot of the TPM quotes it again.
		first := w.Honest()
		must.Do(w.VM.Reboot())
		return []*poclog.Bundle{first, w.again(first, w.VM.TPM)}
	}},
	{Name: "tpm-rewound", Rule: "tpm-rewound", Stage: func(w *World) []*poclog.Bundle {
		w.VM.TPM.SetClock(3_600_000, Now)
		w.earlier(w.VM.Platform())
		first := w.Honest()
		w.later()
		w.VM.TPM.SetClock(1_000, Now)
		return []*poclog.Bundle{first, w.next()}
	}},
	{Name: "boot-forked", Rule: "boot-forked", Stage: func(w *World) []*poclog.Bundle {
		// A copy of the vTPM, with the same counters, saw another boot.
		first := w.Honest()
		twin := *w.VM.TPM
		twin.Image = ownImage()
		w.Challenge.Salt[1]++
		return []*poclog.Bundle{first, w.Assemble(Mix{TPM: &twin, Image: ownImage()})}
	}},
	{Name: "clone-ak", Rule: "ak-on-two-chips", Stage: func(w *World) []*poclog.Bundle {
		// One AK answers for TDs on two chips.
		first := w.Honest()
		w.Challenge.Salt[1]++
		second := w.Host.Sockets[1]
		w.Observe(second)
		return []*poclog.Bundle{first, w.Assemble(Mix{Chip: second})}
	}},
	{Name: "clone-chassis", Rule: "chip-in-two-places", Stage: func(w *World) []*poclog.Bundle {
		// The key of one chip, extracted, answers for a VM in another region. Its register is not
		// asked here: it would tell.
		w.Policy.Registries = nil
		first := w.Honest()
		away := must.Get(w.Cloud.NewHost(w.Cloud.Zones[2], 1))
		rented := must.Get(away.NewVM(0, gce.VMConfig{}))
		w.Challenge.Salt[1]++
		return []*poclog.Bundle{first, w.Assemble(Mix{TPM: rented.TPM, TD: owned(rented.TPM)})}
	}},
}

// next is the honest VM's answer to another challenge.
func (w *World) next() *poclog.Bundle {
	w.Challenge.Salt[1]++
	return w.Honest()
}

// again has a TPM quote a bundle's TD quote once more.
func (w *World) again(b *poclog.Bundle, by *gce.TPM) *poclog.Bundle {
	sum := sha256.Sum256(b.Get(poclog.ItemTDXQuote))
	item, values := must.Both(by.Quote(sum[:], Now))
	c := b.Clone()
	c.Set(poclog.ItemTPMQuote, item)
	c.Set(poclog.ItemTPMPCRs, values)
	return c
}
