package profile

import (
	"bytes"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/attack"
	"github.com/poclog/poclog/internal/lab/metal"
	"github.com/poclog/poclog/internal/lab/metal/discrete"
	"github.com/poclog/poclog/internal/swtpm"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/tpm"
)

// install has the world's honest machine be one with a real TPM.
func install(t *testing.T, w *world, o discrete.Options) *discrete.Machine {
	t.Helper()
	m := discrete.New(t, w.Metal, attack.Zone, o)
	w.Machine = w.List(m.Machine)
	return m
}

// A real TPM 2.0 hears the boot and the launch, its AK is certified by credential activation and
// quotes through its policy: the bundle passes at level 2.
func TestARealTPMAnswersForItsMachine(t *testing.T) {
	for name, isRSA := range map[string]bool{"ECC": false, "RSA": true} {
		t.Run(name, func(t *testing.T) {
			w := newMetalWorld(t)
			m := install(t, w, discrete.Options{RSA: isRSA})
			pcr17, pcr18 := w.Metal.Launch.PCRs(tpm.SHA256)
			if !bytes.Equal(m.V.Read(tpm2.TPMAlgSHA256, 17), pcr17) || !bytes.Equal(m.V.Read(tpm2.TPMAlgSHA256, 18), pcr18) {
				t.Fatal("the TPM holds another launch than the laboratory computes")
			}
			if want := m.V.PolicyPCR(discrete.Held...); !bytes.Equal(want, tpm.LaunchPolicy(tpm.SHA256, tpm.SHA256, pcr17, pcr18)) {
				t.Fatalf("TPM2_PolicyPCR gives %x", want)
			}
			a, err := Appraise(judging(t, w, w.Honest()))
			if err != nil {
				t.Fatal(err)
			}
			if a.Entry.Level != poclog.LevelBound || len(a.Entry.Absent) != 1 {
				t.Errorf("level %d, absent %v", a.Entry.Level, a.Entry.Absent)
			}
		})
	}
}

// What the policy of an AK is for: under another launch, or by its password, the TPM signs nothing
// with it.
func TestARealTPMHoldsTheAKToItsLaunch(t *testing.T) {
	w := newMetalWorld(t)
	m := install(t, w, discrete.Options{})
	template := swtpm.Template(false, w.Metal.Launch.AuthPolicy(tpm.SHA256))
	if _, _, err := m.AK.QuoteWithPassword([]byte("x"), discrete.Quoted...); err == nil {
		t.Error("a password unlocks the AK")
	}
	m.V.Reset()
	ak := m.V.Create(template)
	if !bytes.Equal(ak.Public, m.AK.Public) {
		t.Fatal("another AK after a reset")
	}
	for name, launch := range map[string]func(){
		"nothing was launched":            func() {},
		"another stack was launched":      func() { discrete.Launch(m.V, metal.NewLaunch("the tenant's own")) },
		"the launched stack was extended": func() { discrete.Launch(m.V, w.Metal.Launch); m.V.SetLocality(2); m.V.Extend(18, []byte("x")) },
	} {
		launch()
		if _, _, err := ak.QuoteUnder(discrete.Held, []byte("x"), discrete.Quoted...); err == nil {
			t.Errorf("%s, and the AK signs", name)
		}
	}
	discrete.Launch(m.V, w.Metal.Launch)
	if _, _, err := ak.QuoteUnder(discrete.Held, []byte("x"), discrete.Quoted...); err != nil {
		t.Errorf("the allowed stack was launched again: %v", err)
	}
}

// Locality 0, which is all that an operating system has, can neither reset nor extend the launch's
// registers.
func TestARealTPMKeepsTheLaunchFromTheOperatingSystem(t *testing.T) {
	v := swtpm.Start(t)
	for _, pcr := range []tpm2.TPMHandle{17, 18} {
		if _, err := (tpm2.PCRReset{PCRHandle: tpm2.AuthHandle{Handle: pcr, Auth: tpm2.PasswordAuth(nil)}}).Execute(v); err == nil {
			t.Errorf("PCR %d is reset from locality 0", pcr)
		}
		_, err := tpm2.PCREvent{PCRHandle: tpm2.AuthHandle{Handle: pcr, Auth: tpm2.PasswordAuth(nil)}, EventData: tpm2.TPM2BEvent{Buffer: []byte("x")}}.Execute(v)
		if err == nil {
			t.Errorf("PCR %d is extended from locality 0", pcr)
		}
	}
}

// The attacks of which a real TPM can be the tool: what it signs is refused by the check that the
// corpus says.
func TestARealTPMDoesNotHelpTheAttacker(t *testing.T) {
	own := metal.NewLaunch("the tenant's own")
	for name, c := range map[string]struct {
		options discrete.Options
		change  func(w *world, m *discrete.Machine)
		check   verify.Check
	}{
		"txt-stack-swapped": {discrete.Options{Launch: own}, nil, verify.BindTXT},
		"ak-without-policy": {discrete.Options{Free: true}, nil, verify.TPMAKPolicy},
		"ek-reuse":          {discrete.Options{}, func(w *world, m *discrete.Machine) { m.EKChain = w.NewMachine(true).EKChain }, verify.TPMAKChain},
		"ak-uncertified": {discrete.Options{}, func(w *world, m *discrete.Machine) {
			m.AKChain = metal.NewCA("a garage", "garage", labStart).CertifyAK(m.TPM.Key(), m.Place)
		}, verify.TPMAKChain},
		"firmware": {discrete.Options{}, func(_ *world, m *discrete.Machine) { m.V.Extend(7, []byte("a key of the tenant's")) }, verify.BindPCRRTMR},
	} {
		t.Run(name, func(t *testing.T) {
			w := newMetalWorld(t)
			m := install(t, w, c.options)
			if c.change != nil {
				c.change(w, m)
			}
			_, err := Appraise(judging(t, w, w.Honest()))
			wantCheck(t, name, err, c.check)
		})
	}
}

// Credential activation fails for an AK of another TPM, and for another key than was named: that is
// what the provider's certificate rests on.
func TestEnrollmentIsForOneTPM(t *testing.T) {
	w := newMetalWorld(t)
	x, y := install(t, w, discrete.Options{}), install(t, w, discrete.Options{})
	if err := discrete.Enroll(x.EK, y.AK); err == nil {
		t.Error("the AK of one TPM is enrolled with the EK of another")
	}
	// An AK with adminWithPolicy could not be enrolled at all: its policy lacks
	// TPM2_PolicyCommandCode.
	template := swtpm.Template(false, w.Metal.Launch.AuthPolicy(tpm.SHA256))
	template.ObjectAttributes.AdminWithPolicy = true
	x.AK.Flush()
	if err := discrete.Enroll(x.EK, x.V.Create(template)); err == nil {
		t.Error("an AK with adminWithPolicy is enrolled by password")
	}
}
