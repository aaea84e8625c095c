// Package discrete puts real TPMs (swtpm) into the laboratory's bare-metal machines, for tests: the
// host's boot and its dynamic launch are measured, keys are made in the TPM, and the provider
// certifies the AK after credential activation, as docs/publishing/bare-metal.md describes it.
package discrete

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"github.com/poclog/poclog/internal/lab/metal"
	"github.com/poclog/poclog/internal/swtpm"
	"github.com/poclog/poclog/verify/tcglog"
	"github.com/poclog/poclog/verify/tpm"
)

// Banks that the machine's firmware measures into.
var banks = []tpm.Alg{tpm.SHA1, tpm.SHA256, tpm.SHA384}

// Held are the registers that hold an AK.
var Held = []swtpm.Selection{{Alg: tpm2.TPMAlgSHA256, PCRs: []uint{17, 18}}}

// Quoted are the registers that machines quote.
var Quoted = []swtpm.Selection{{Alg: tpm2.TPMAlgSHA256, PCRs: []uint{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 14, 17, 18}}}

// Measure has a TPM hear the boot that a log tells.
func Measure(t testing.TB, v *swtpm.TPM, log []byte) {
	t.Helper()
	l, err := tcglog.Parse(tcglog.TPM, log)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range l.Events {
		if e.Type == 3 { // EV_NO_ACTION
			continue
		}
		digests := make(map[tpm2.TPMAlgID][]byte)
		for i, alg := range l.Algs {
			for _, bank := range banks {
				if alg == bank {
					digests[tpm2.TPMAlgID(alg)] = e.Digests[i]
				}
			}
		}
		v.ExtendDigests(e.Index, digests)
	}
}

// Launch has the machine launch a stack: the CPU's part at locality 4, the launched code's at
// locality 2.
func Launch(v *swtpm.TPM, l *metal.Launch) {
	v.DynamicLaunch(l.Module)
	v.SetLocality(2)
	for _, e := range l.Events {
		v.Extend(uint32(e.PCR), e.Data)
	}
	v.SetLocality(0)
}

// Options say what is other than honest.
type Options struct {
	Launch *metal.Launch // what is launched; nil is the provider's
	Policy []byte        // of the AK; nil is that of the launch
	Free   bool          // the AK has no policy
	RSA    bool          // both keys are RSA
}

// A Machine is a bare-metal machine with a real TPM.
type Machine struct {
	*metal.Machine
	V      *swtpm.TPM
	EK, AK *swtpm.AK
}

// New boots a machine, launches, makes its keys and has them certified.
func New(t testing.TB, p *metal.Provider, zone string, o Options) *Machine {
	t.Helper()
	m := &Machine{V: swtpm.Start(t)}
	if o.Launch == nil {
		o.Launch = p.Launch
	}
	Measure(t, m.V, p.Boot.TCGLog)
	Launch(m.V, o.Launch)
	switch {
	case o.Free:
		o.Policy = nil
	case o.Policy == nil:
		o.Policy = o.Launch.AuthPolicy(tpm.SHA256)
	}
	m.EK, m.AK = m.V.EK(o.RSA), m.V.Create(swtpm.Template(o.RSA, o.Policy))
	if err := Enroll(m.EK, m.AK); err != nil {
		t.Fatalf("credential activation: %v", err)
	}
	ek, err := tpm.ParsePublic(m.EK.Public)
	if err != nil {
		t.Fatal(err)
	}
	real := &metal.TPM{EK: ek.Key(), Public: m.AK.Public, Boot: p.Boot, Launch: o.Launch}
	real.Real = func(extraData []byte) (item, values []byte, err error) {
		if o.Free {
			return m.AK.QuoteWithPassword(extraData, Quoted...)
		}
		return m.AK.QuoteUnder(Held, extraData, Quoted...)
	}
	m.Machine = p.MachineWith(real, zone, true)
	return m
}

// Enroll is the provider's part: a secret that only the TPM with both keys can read comes back.
func Enroll(ek, ak *swtpm.AK) error {
	public, err := tpm.ParsePublic(ak.Public)
	if err != nil {
		return fmt.Errorf("AK: %w", err)
	}
	secret := make([]byte, 32)
	if _, err := rand.Read(secret); err != nil {
		return err
	}
	blob, encrypted, err := swtpm.Credential(ek.Public, public.Name(), secret)
	if err != nil {
		return err
	}
	back, err := ak.Activate(ek, blob, encrypted)
	if err != nil {
		return err
	}
	if !bytes.Equal(back, secret) {
		return errors.New("the secret came back changed")
	}
	return nil
}
