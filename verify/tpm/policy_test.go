package tpm_test

import (
	"bytes"
	"testing"

	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/internal/lab/metal"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/tpm"
)

// launched are the values of a quote over PCR 17 and 18 of some banks after a launch.
func launched(t *testing.T, l *metal.Launch, banks ...tpm.Alg) *tpm.PCRValues {
	t.Helper()
	q := new(tpm.Quote)
	var values []byte
	for _, alg := range banks {
		q.Selection = append(q.Selection, tpm.PCRSelection{Alg: alg, PCRs: []int{17, 18}})
		pcr17, pcr18 := l.PCRs(alg)
		values = append(append(values, pcr17...), pcr18...)
	}
	v, err := tpm.ParsePCRs(q, values)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// Every bit of the policy counts, in either bank, and so does userWithAuth.
func TestAKIsHeldByItsLaunchAlone(t *testing.T) {
	l := metal.NewLaunch("stack")
	key := chip.NewKey("policy test", "AK")
	for _, bank := range tpm.LaunchBanks {
		item, err := tpm.AKPublic(key.Public(), l.AuthPolicy(bank))
		if err != nil {
			t.Fatal(err)
		}
		ak, err := tpm.ParsePublic(item)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := tpm.CheckAKPolicy(ak, launched(t, l, tpm.SHA256, tpm.SHA384)); err != nil || got != bank {
			t.Fatalf("held by %s: %s, %v", bank, got, err)
		}
		for name, v := range map[string]*tpm.PCRValues{
			"another launch": launched(t, metal.NewLaunch("another"), tpm.SHA256, tpm.SHA384),
			"another bank":   launched(t, l, tpm.SHA512),
			"no values":      nil,
		} {
			_, err := tpm.CheckAKPolicy(ak, v)
			if check, _ := verify.CheckOf(err); check != verify.TPMAKPolicy {
				t.Errorf("%s: %v", name, err)
			}
		}
		for bit := range 32 * 8 {
			other := bytes.Clone(item)
			other[10+bit/8] ^= 1 << (bit % 8) // authPolicy, after type, nameAlg, attributes and its length
			if p, err := tpm.ParsePublic(other); err != nil {
				t.Fatal(err)
			} else if _, err := tpm.CheckAKPolicy(p, launched(t, l, tpm.SHA256, tpm.SHA384)); err == nil {
				t.Errorf("bit %d of the policy does not count", bit)
			}
		}
		withPassword := bytes.Clone(item)
		withPassword[7] |= 1 << 6
		p, err := tpm.ParsePublic(withPassword)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tpm.CheckAKPolicy(p, launched(t, l, bank)); err == nil {
			t.Error("userWithAuth is set, and the AK is held")
		}
	}
	free, err := tpm.AKPublic(key.Public(), nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := tpm.ParsePublic(free)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tpm.CheckAKPolicy(p, launched(t, l, tpm.SHA256)); err == nil {
		t.Error("an AK without a policy is held")
	}
}
