package attack

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/internal/lab/gce"
	"github.com/poclog/poclog/internal/must"
	"github.com/poclog/poclog/internal/testlog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/tcglog"
	"github.com/poclog/poclog/verify/tpm"
)

// An Attack is evidence that must be refused by a check, and would pass without it.
//
// [Describe] says what the attacker does.
type Attack struct {
	Name    string
	Check   verify.Check
	Stage   func(w *World) *poclog.Bundle
	Profile poclog.Profile // under which it is tried; the zero value is gce-tdx-vtpm

	// Opened are the checks without which it passes, where Check is none that can be left out; nil
	// is Check alone.
	Opened []verify.Check
}

// ID names an attack among those of all profiles: its name, after the profile's if that is not
// gce-tdx-vtpm.
func (a *Attack) ID() string { return idOf(a.Profile, a.Name) }

// NewWorld builds the world in which it is tried.
func (a *Attack) NewWorld() *World { return NewWorldOf(a.Profile) }

func idOf(p poclog.Profile, name string) string {
	if p == "" || p == poclog.GCETDXvTPM {
		return name
	}
	return string(p) + "." + name
}

// under is a list of attacks, tried under a profile.
func under(p poclog.Profile, list []Attack) []Attack {
	for i := range list {
		list[i].Profile = p
	}
	return list
}

// All are the attacks of one bundle, of every profile.
func All() []Attack { return slices.Concat(single, bareMetal, azureSingle, chipOnly) }

// ownImage is what an attacker boots.
var ownImage = sync.OnceValue(func() *gce.Image { return gce.SyntheticImage("the attacker's own") })

// single are the attacks of one bundle under profile gce-tdx-vtpm, which a check must refuse.
var single = slices.Concat([]Attack{
	quoteForged,
	{Name: "lab-root-in-production", Check: verify.TEEChain, Stage: func(w *World) *poclog.Bundle {
		// A maker of one's own, with all that it publishes: nothing but the root tells it from the
		// true one.
		own := chip.NewMaker("a garage", start)
		home := own.NewPlatform("home", nil)
		w.Collateral = w.Collateral.With(own.Collateral(chip.CollateralOptions{At: Now.AddDate(0, 0, -3)}).Items...)
		w.Answer(home, 200, Zone)
		return w.Assemble(Mix{Chip: home})
	}},
	debugTD,
	firmwareOwn,
	{Name: "pcr-unselected", Check: verify.TPMPCRDigest, Stage: func(w *World) *poclog.Bundle {
		// The rented TPM saw one boot, the TD had another: the other's values stand beside a quote
		// that does not cover them.
		b := w.Assemble(Mix{Image: ownImage()})
		b.Set(poclog.ItemTCGLog, ownImage().TCGLog)
		var values []byte
		for _, s := range gce.Selection {
			values = append(values, ownImage().PCRs(s.Alg, s.PCRs)...)
		}
		b.Set(poclog.ItemTPMPCRs, values)
		return b
	}},
	{Name: "pcr-hidden", Check: verify.TPMPCRDigest, Stage: func(w *World) *poclog.Bundle {
		return w.Assemble(Mix{PCRs: hidden(gce.Selection[0].PCRs)})
	}},
	{Name: "ak-unrestricted", Check: verify.TPMAKTemplate, Stage: func(w *World) *poclog.Bundle {
		free := *w.VM.TPM
		free.Public = bytes.Clone(free.Public)
		free.Public[5] &^= 1 // objectAttributes: restricted
		return w.Assemble(Mix{TPM: &free})
	}},
	{Name: "ak-uncertified", Check: verify.TPMAKChain, Stage: func(w *World) *poclog.Bundle {
		// The true root stands above a CA of his own, which it did not certify.
		rogue := *w.VM.TPM
		chain := must.Get(gce.New("another provider", start).Certify(rogue.AK.Public(), rogue.Instance))
		rogue.Chain = underRootOf(rogue.Chain, chain)
		return w.Assemble(Mix{TPM: &rogue})
	}},
	{Name: "other-technology", Check: verify.TPMTechnology, Stage: func(w *World) *poclog.Bundle {
		w.VM = w.NewVM(gce.VMConfig{Image: otherTechnology(w.VM.Config.Image)})
		return w.Honest()
	}},
	{Name: "ak-swap", Check: verify.BindAKInTEE, Stage: func(w *World) *poclog.Bundle {
		// X's TD quote names X's AK; Y's TPM quotes it, and Y's key and certificate stand beside it
		// (relay-Mix).
		y := w.NewVM(gce.VMConfig{})
		return w.Assemble(Mix{TPM: y.TPM, AK: w.VM.TPM.Public, TD: owned(y.TPM)})
	}},
	{Name: "relay-mix", Check: verify.BindTEEInTPM, Stage: func(w *World) *poclog.Bundle {
		// X's TD puts Y's AK and the shared nonce into its report; Y's published quote of Y's own
		// TD stands beside it.
		y := w.NewVM(gce.VMConfig{})
		x := w.Host.Sockets[1]
		w.Observe(x)
		published := sha256.Sum256(y.Platform().Quote(y.TD(w.Challenge.ReportData(y.TPM.Public))))
		return w.Assemble(Mix{Chip: x, TPM: y.TPM, TD: owned(y.TPM), Sealed: published[:]})
	}},
	malleatedQuote,
	nonceShared,
	relayTPM,
	{Name: "rtmr-forged", Check: verify.BindPCRRTMR, Stage: func(w *World) *poclog.Bundle { return w.Assemble(Mix{Image: ownImage()}) }},
	{Name: "log-swapped", Check: verify.BindPCRRTMR, Stage: func(w *World) *poclog.Bundle {
		b := w.Honest()
		b.Set(poclog.ItemCCEL, ownImage().CCEL)
		return b
	}},
	{Name: "log-truncated", Check: verify.BindPCRRTMR, Stage: func(w *World) *poclog.Bundle {
		b := w.Honest()
		log := b.Get(poclog.ItemCCEL)
		b.Set(poclog.ItemCCEL, log[:len(log)-lastEvents(tcglog.CCEL, log, 1)[0]])
		return b
	}},
	{Name: "log-reordered", Check: verify.BindPCRRTMR, Stage: func(w *World) *poclog.Bundle {
		// The TD heard the same events in another order, and its log says so.
		img := must.Get(gce.ImageOf("reordered", w.VM.Config.Image.TCGLog, swapLast(tcglog.CCEL, w.VM.Config.Image.CCEL)))
		return w.Assemble(Mix{Image: img})
	}},
	{Name: "pzid-copied", Check: verify.PlaceAgree, Stage: func(w *World) *poclog.Bundle {
		// The host that runs X's TD wrote MROWNER for Y, and X's rented TPM answers for it.
		return w.Assemble(Mix{TD: owned(w.NewVM(gce.VMConfig{}).TPM)})
	}},
	{Name: "not-production", Check: verify.PlaceCert, Stage: func(w *World) *poclog.Bundle {
		test := *w.VM.TPM
		test.Instance.Production = false
		test.Chain = must.Get(w.Cloud.Certify(test.AK.Public(), test.Instance))
		return w.Assemble(Mix{TPM: &test})
	}},
	{Name: "relay-vtpm", Check: verify.PlaceRegistry, Stage: func(w *World) *poclog.Bundle {
		// A genuine chip at home, whose host forwards TPM commands to a rented vTPM, and writes
		// MROWNER as the cloud's hosts would.
		w.Observe(w.home())
		return w.Assemble(Mix{Chip: w.home(), TD: owned(w.VM.TPM)})
	}},
	{Name: "registry-forged", Check: verify.PlaceRegistry, Stage: func(w *World) *poclog.Bundle {
		// Another chip's true answer stands under its own address.
		return w.Assemble(Mix{Chip: w.home(), TD: owned(w.VM.TPM)})
	}},
}, everywhere, tokens, owners)

// hidden is a selection that has every register but one of the firmware's in the SHA-256 bank, and
// all of them in the SHA-384 bank, of which another boot's quote can show nothing.
func hidden(pcrs []int) []tpm.PCRSelection {
	most := slices.DeleteFunc(slices.Clone(pcrs), func(n int) bool { return n == 7 })
	return []tpm.PCRSelection{{Alg: tpm.SHA256, PCRs: most}, {Alg: tpm.SHA384, PCRs: pcrs}}
}

// underRootOf is a chain with the root of another in place of its own.
func underRootOf(other, chain []byte) []byte {
	split := func(der []byte) (below, root []byte) {
		certs := must.Get(x509.ParseCertificates(der))
		root = certs[len(certs)-1].Raw
		return der[:len(der)-len(root)], root
	}
	below, _ := split(chain)
	_, root := split(other)
	return slices.Concat(below, root)
}

// everywhere are the attacks that are the same under the profiles of a chip of Intel's, a TPM and a
// register of chips.
var everywhere = slices.Concat(onIntel, withTPM, registered, challenged)

// onIntel are the attacks on what Intel says of a chip.
var onIntel = []Attack{
	{Name: "pck-revoked", Check: verify.TEERevocation, Stage: func(w *World) *poclog.Bundle {
		w.Publish(chip.CollateralOptions{Revoked: []*chip.Platform{w.chip()}})
		return w.Honest()
	}},
	{Name: "tcb-revoked", Check: verify.TEETCB, Stage: func(w *World) *poclog.Bundle {
		w.Publish(chip.CollateralOptions{Status: "Revoked"})
		return w.Honest()
	}},
	{Name: "tcb-out-of-date", Check: verify.TEETCB, Stage: func(w *World) *poclog.Bundle {
		w.Publish(chip.CollateralOptions{Status: "OutOfDate", Advisories: []string{"LAB-SA-1"}})
		return w.Honest()
	}},
	{Name: "collateral-old", Check: verify.Collateral, Opened: standing, Stage: func(w *World) *poclog.Bundle {
		w.Collateral = w.Collateral.With(w.Cloud.Maker.Collateral(chip.CollateralOptions{At: Now.AddDate(0, 0, -30).Add(-time.Second)}).Items...)
		return w.Honest()
	}},
	{Name: "collateral-of-the-future", Check: verify.Collateral, Opened: standing, Stage: func(w *World) *poclog.Bundle {
		w.Collateral = w.Collateral.With(w.Cloud.Maker.Collateral(chip.CollateralOptions{At: Now.Add(time.Second)}).Items...)
		return w.Honest()
	}},
}

// Attacks on the machine of any world, with a TD or a guest of SEV-SNP.
var (
	quoteForged = Attack{Name: "quote-forged", Check: verify.TEESignature, Stage: func(w *World) *poclog.Bundle {
		return w.twisted(twist{quote: func(q []byte) { q[48+584+4+20] ^= 1 }})
	}}
	debugTD = Attack{Name: "debug-td", Check: verify.TEENoDebug, Stage: func(w *World) *poclog.Bundle {
		return w.twisted(twist{td: func(td *chip.TD) { td.Debug = true }})
	}}
	firmwareOwn = Attack{Name: "firmware-own", Check: verify.TEELaunch, Stage: func(w *World) *poclog.Bundle {
		return w.twisted(twist{td: func(td *chip.TD) { td.MRTD[0] ^= 1 }})
	}}
	malleatedQuote = Attack{Name: "malleated-quote", Check: verify.BindTEEInTPM, Stage: func(w *World) *poclog.Bundle {
		b := w.Honest()
		b.Set(poclog.ItemTDXQuote, NegateS(b.Get(poclog.ItemTDXQuote)))
		return b
	}}
	nonceShared = Attack{Name: "nonce-shared", Check: verify.BindTEEInTPM, Stage: func(w *World) *poclog.Bundle {
		nonce := w.Challenge.Nonce()
		return w.twisted(twist{sealed: nonce[:]})
	}}
	relayTPM = Attack{Name: "relay-tpm", Check: verify.BindTEEInTPM, Stage: func(w *World) *poclog.Bundle {
		// Another TD quote under the same challenge beside the TPM quote.
		b := w.Honest()
		b.Set(poclog.ItemTDXQuote, w.twisted(twist{td: func(td *chip.TD) { td.Version = 5 }}).Get(poclog.ItemTDXQuote))
		return b
	}}
)

// standing are the checks that read collateral on a chip.
var standing = []verify.Check{verify.TEERevocation, verify.TEETCB}

// withTPM are the attacks on any TPM's quote.
var withTPM = []Attack{
	{Name: "tpm-quote-forged", Check: verify.TPMSignature, Stage: func(w *World) *poclog.Bundle {
		b := w.Honest()
		item := bytes.Clone(b.Get(poclog.ItemTPMQuote))
		item[len(item)-1] ^= 1
		b.Set(poclog.ItemTPMQuote, item)
		return b
	}},
}

// registered are the attacks on a provider's register.
var registered = []Attack{
	{Name: "zone-lie", Check: verify.PlaceAgree, Stage: func(w *World) *poclog.Bundle {
		w.Answer(w.chip(), 200, "lab-west9-c")
		return w.Honest()
	}},
}

// challenged are the attacks on freshness.
var challenged = []Attack{
	{Name: "nonce-old", Check: verify.FreshChallenge, Stage: func(w *World) *poclog.Bundle {
		w.Challenge = w.ChallengeAt(Now.Add(-10*time.Minute - time.Second))
		return w.Honest()
	}},
	{Name: "nonce-foreign", Check: verify.FreshChallenge, Stage: func(w *World) *poclog.Bundle {
		l := &testlog.Log{Origin: "foreign.test", Leaves: [][]byte{{1}}}
		w.Challenge.Checkpoint = l.Checkpoint(1, testlog.Cosigner{Signer: testlog.LogKey("foreign.test")}, testlog.Cosigner{Signer: WitnessKey, At: Now})
		return w.Honest()
	}},
	{Name: "nonce-unsigned", Check: verify.FreshChallenge, Stage: func(w *World) *poclog.Bundle {
		w.Challenge.Checkpoint = w.Log.Checkpoint(2, testlog.Cosigner{Signer: WitnessKey, At: Now})
		return w.Honest()
	}},
	{Name: "nonce-stripped", Check: verify.FreshChallenge, Stage: func(w *World) *poclog.Bundle {
		w.Challenge.Checkpoint = w.Log.Checkpoint(2, testlog.Cosigner{Signer: LogKey, At: Now.Add(-challengeAge)})
		return w.Honest()
	}},
	{Name: "nonce-other-salt", Check: verify.FreshChallenge, Stage: func(w *World) *poclog.Bundle {
		b := w.Honest()
		w.Challenge.Salt[0] ^= 1
		b.Set(poclog.ItemChallenge, must.Get(w.Challenge.Marshal()))
		return b
	}},
	{Name: "nonce-of-the-future", Check: verify.FreshChallenge, Stage: func(w *World) *poclog.Bundle {
		w.Challenge = w.ChallengeAt(Now.Add(verify.MaxSkew + time.Second))
		return w.Honest()
	}},
}

// chip is the honest VM's chip.
func (w *World) chip() *chip.Platform {
	switch {
	case w.Metal != nil:
		return w.Machine.Chip
	case w.AzureVM != nil:
		return w.AzureVM.Host.TDX
	}
	return w.VM.Platform()
}

// owned has the host write MROWNER for the instance of a TPM: MROWNER is a parameter of
// TDH.MNG.INIT, and whoever creates a TD chooses it.
func owned(t *gce.TPM) func(*chip.TD) {
	return func(td *chip.TD) { td.MROwner = t.Instance.PZID() }
}

// otherTechnology is an image whose firmware says that it runs on SEV-SNP.
func otherTechnology(img *gce.Image) *gce.Image {
	raw := bytes.Clone(img.TCGLog)
	said := []byte("GCE NonHostInfo\x00\x03")
	at := bytes.Index(raw, said)
	if at < 0 {
		panic("no NonHostInfo")
	}
	size := int(binary.LittleEndian.Uint32(raw[at-4:]))
	data := raw[at : at+size]
	data[len(said)-1] = tcglog.GCETechnologySNP
	d1, d256, d384 := sha1.Sum(data), sha256.Sum256(data), sha512.Sum384(data)
	copy(raw[at-4-48:], d384[:])
	copy(raw[at-4-48-2-32:], d256[:])
	copy(raw[at-4-48-2-32-2-20:], d1[:])
	return must.Get(gce.ImageOf("other technology", raw, img.CCEL))
}

// Publish publishes other collateral, valid now.
func (w *World) Publish(o chip.CollateralOptions) {
	o.At = Now.AddDate(0, 0, -3)
	w.Collateral = w.Collateral.With(w.Cloud.Maker.Collateral(o).Items...)
}

// Answer is what someone says that the register answered on a chip.
func (w *World) Answer(p *chip.Platform, status uint32, zone string) {
	w.Collateral = w.Collateral.With(poclog.CollateralItem{
		Kind: poclog.ChipRegistry, URL: fmt.Sprintf("%s%x", RegistryURL, p.PPID), Time: Now, Status: status, Body: fmt.Appendf(nil, `{"zone":%q}`, zone),
	})
}
