package tpm_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"testing"

	"github.com/poclog/poclog/verify/tpm"
)

func TestWhatTheLaboratoryBuildsVerifies(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]crypto.Signer{"RSA": rsaKey, "ECDSA": akKey} {
		for _, policy := range [][]byte{nil, make([]byte, 32)} {
			raw, err := tpm.AKPublic(key.Public(), policy)
			if err != nil {
				t.Fatal(err)
			}
			public, values := mustPublic(t, raw), bytes.Repeat([]byte{7}, 32)
			a := tpm.Attestation{
				AK: public, ExtraData: []byte("x"), Clock: 5, ResetCount: 3, RestartCount: 4, Safe: true, Firmware: 6,
				Selection: []tpm.PCRSelection{{Alg: tpm.SHA256, PCRs: []int{23}}}, Values: values,
			}
			item, err := tpm.SignQuote(a.Marshal(), key)
			if err != nil {
				t.Fatal(err)
			}
			if err := verifyAll(item, raw, values, key.Public()); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			q := mustQuote(t, item)
			if q.ResetCount != 3 || q.RestartCount != 4 || !q.Safe || q.Clock != 5 || q.Firmware != 6 || string(q.ExtraData) != "x" {
				t.Errorf("%s: %+v", name, q)
			}
			if public.PolicyOnly() != (policy != nil) {
				t.Errorf("%s: policy alone: %t", name, public.PolicyOnly())
			}
		}
	}
}

func TestTheLaboratoryBuildsNoOtherAKs(t *testing.T) {
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, try := range map[string]struct {
		key    crypto.PublicKey
		policy []byte
	}{
		"P-384": {&p384.PublicKey, nil}, "no key": {nil, nil}, "a policy that is no digest": {akKey.Public(), []byte("policy")},
	} {
		if _, err := tpm.AKPublic(try.key, try.policy); err == nil {
			t.Errorf("%s: built", name)
		}
	}
}
