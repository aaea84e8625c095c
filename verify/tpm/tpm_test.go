package tpm_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"github.com/poclog/poclog/internal/swtpm"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/tpm"
)

func wantCheck(t *testing.T, name string, err error, want verify.Check) {
	t.Helper()
	if got, ok := verify.CheckOf(err); !ok || got != want {
		t.Errorf("%s: refused by %q (%v): want %q", name, got, err, want)
	}
}

func mustQuote(t *testing.T, item []byte) *tpm.Quote {
	t.Helper()
	q, err := tpm.ParseQuote(item)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func mustPublic(t *testing.T, item []byte) *tpm.Public {
	t.Helper()
	p, err := tpm.ParsePublic(item)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// verifyAll is what a profile asks of TPM evidence, with the key that a certificate names.
func verifyAll(item, public, values []byte, certified crypto.PublicKey) error {
	q, err := tpm.ParseQuote(item)
	if err != nil {
		return err
	}
	p, err := tpm.ParsePublic(public)
	if err != nil {
		return err
	}
	if err := q.Verify(certified); err != nil {
		return err
	}
	if err := tpm.CheckAKTemplate(p, q, certified); err != nil {
		return err
	}
	_, err = tpm.CheckPCRs(q, values)
	return err
}

var selection = []swtpm.Selection{{Alg: tpm2.TPMAlgSHA256, PCRs: []uint{0, 1, 7}}, {Alg: tpm2.TPMAlgSHA384, PCRs: []uint{4, 8}}}

// templates are the kinds of AK that this package takes.
func templates() map[string]tpm2.TPMTPublic {
	p384 := swtpm.Template(false, nil)
	p384.Parameters = tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{
		Scheme:  tpm2.TPMTECCScheme{Scheme: tpm2.TPMAlgECDSA, Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgECDSA, &tpm2.TPMSSigSchemeECDSA{HashAlg: tpm2.TPMAlgSHA384})},
		CurveID: tpm2.TPMECCNistP384, KDF: tpm2.TPMTKDFScheme{Scheme: tpm2.TPMAlgNull}, Symmetric: tpm2.TPMTSymDefObject{Algorithm: tpm2.TPMAlgNull},
	})
	pss := swtpm.Template(true, nil)
	pss.Parameters = tpm2.NewTPMUPublicParms(tpm2.TPMAlgRSA, &tpm2.TPMSRSAParms{
		Scheme:    tpm2.TPMTRSAScheme{Scheme: tpm2.TPMAlgRSAPSS, Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgRSAPSS, &tpm2.TPMSSigSchemeRSAPSS{HashAlg: tpm2.TPMAlgSHA512})},
		Symmetric: tpm2.TPMTSymDefObject{Algorithm: tpm2.TPMAlgNull}, KeyBits: 2048,
	})
	return map[string]tpm2.TPMTPublic{"ECDSA P-256": swtpm.Template(false, nil), "ECDSA P-384": p384, "RSASSA": swtpm.Template(true, nil), "RSAPSS": pss}
}

func TestARealTPMsQuoteVerifies(t *testing.T) {
	for name, template := range templates() {
		t.Run(name, func(t *testing.T) {
			v := swtpm.Start(t)
			v.Extend(7, []byte("boot"))
			v.Extend(8, []byte("kernel"))
			ak := v.Create(template)
			item, values := ak.Quote([]byte("nonce"), selection...)
			q, public := mustQuote(t, item), mustPublic(t, ak.Public)
			if err := verifyAll(item, ak.Public, values, public.Key()); err != nil {
				t.Error(err)
			}
			if !bytes.Equal(q.Marshal(), item) || !bytes.Equal(public.Marshal(), ak.Public) {
				t.Error("written from their fields, quote or key are others")
			}
			if !bytes.Equal(public.Name(), ak.Handle.Name.Buffer) || !bytes.Equal(q.QualifiedSigner, ak.QualifiedName()) {
				t.Error("the TPM has another name for the key")
			}
			if string(q.ExtraData) != "nonce" {
				t.Errorf("extraData %q", q.ExtraData)
			}
			pcrs, err := tpm.CheckPCRs(q, values)
			if err != nil {
				t.Fatal(err)
			}
			if got, ok := pcrs.Get(tpm.SHA256, 7); !ok || !bytes.Equal(got, v.Read(tpm2.TPMAlgSHA256, 7)) {
				t.Errorf("PCR 7: %x", got)
			}
			if got, ok := pcrs.Get(tpm.SHA384, 8); !ok || !bytes.Equal(got, v.Read(tpm2.TPMAlgSHA384, 8)) {
				t.Errorf("PCR 8: %x", got)
			}
		})
	}
}

func TestOnlySelectedRegistersHaveValues(t *testing.T) {
	v := swtpm.Start(t)
	ak := v.Create(swtpm.Template(false, nil))
	item, values := ak.Quote(nil, selection...)
	q := mustQuote(t, item)
	pcrs, err := tpm.CheckPCRs(q, values)
	if err != nil {
		t.Fatal(err)
	}
	readable := 0
	for _, alg := range []tpm.Alg{tpm.SHA1, tpm.SHA256, tpm.SHA384, tpm.SHA512} {
		for pcr := -1; pcr < 40; pcr++ {
			if _, ok := pcrs.Get(alg, pcr); ok {
				readable++
			}
		}
	}
	if _, ok := pcrs.Get(tpm.SHA384, 7); ok || readable != 5 {
		t.Errorf("%d registers have values: want the 5 that the quote selects (pcr-unselected)", readable)
	}
	_, err = tpm.CheckPCRs(q, append(bytes.Clone(values), make([]byte, 32)...))
	wantCheck(t, "a value more", err, verify.TPMPCRDigest)
	_, err = tpm.CheckPCRs(q, values[:32])
	wantCheck(t, "values less", err, verify.TPMPCRDigest)
	_, err = tpm.CheckPCRs(q, nil)
	wantCheck(t, "no values", err, verify.TPMPCRDigest)
	swapped := bytes.Join([][]byte{values[32:64], values[:32], values[64:]}, nil)
	swapped[0] ^= 1 // both may be zero
	_, err = tpm.CheckPCRs(q, swapped)
	wantCheck(t, "values in another order", err, verify.TPMPCRDigest)
}

// Each bit of quote, key and values is changed in turn, or where the curve is slow a bit or two of
// each byte.
func TestEveryByteOfARealTPMsEvidenceIsProtected(t *testing.T) {
	for name, template := range templates() {
		t.Run(name, func(t *testing.T) {
			v := swtpm.Start(t)
			ak := v.Create(template)
			item, values := ak.Quote([]byte("nonce"), selection...)
			evidence := [3][]byte{item, ak.Public, values}
			certified := mustPublic(t, ak.Public).Key()
			step := 1
			if name == "ECDSA P-384" {
				step = 5
			}
			if err := verifyAll(item, ak.Public, values, certified); err != nil {
				t.Fatal(err)
			}
			for i, what := range []string{"quote", "key", "values"} {
				for bit := 0; bit < 8*len(evidence[i]); bit += step {
					changed := evidence
					changed[i] = bytes.Clone(evidence[i])
					changed[i][bit/8] ^= 1 << (bit % 8)
					err := verifyAll(changed[0], changed[1], changed[2], certified)
					if _, ok := verify.CheckOf(err); !ok {
						t.Errorf("byte %d of the %s changed: %v", bit/8, what, err)
					}
				}
				for n := range evidence[i] {
					changed := evidence
					changed[i] = evidence[i][:n]
					if _, ok := verify.CheckOf(verifyAll(changed[0], changed[1], changed[2], certified)); !ok {
						t.Errorf("%s cut to %d bytes: not refused by a check", what, n)
					}
				}
			}
		})
	}
}

func TestKeysThatSignAnythingAreNoAKs(t *testing.T) {
	v := swtpm.Start(t)
	good := swtpm.Template(false, nil)
	free := good
	free.ObjectAttributes.Restricted = false
	ak := v.Create(free)
	item, _ := ak.Quote(nil, selection...)
	public := mustPublic(t, ak.Public)
	wantCheck(t, "an unrestricted key (ak-unrestricted)", tpm.CheckAKTemplate(public, mustQuote(t, item), public.Key()), verify.TPMAKTemplate)
	srk := mustPublic(t, v.CreateIn(tpm2.TPMRHOwner, tpm2.ECCSRKTemplate).Public)
	wantCheck(t, "a storage key", tpm.CheckAKTemplate(srk, mustQuote(t, item), srk.Key()), verify.TPMAKTemplate)
}

func TestAQuoteIsOfTheCertifiedKey(t *testing.T) {
	v := swtpm.Start(t)
	ak := v.Create(swtpm.Template(false, nil))
	item, _ := ak.Quote(nil, selection...)
	q, public := mustQuote(t, item), mustPublic(t, ak.Public)
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	wantCheck(t, "another key than the certified one (ak-swap)", tpm.CheckAKTemplate(public, q, &other.PublicKey), verify.TPMAKTemplate)
	wantCheck(t, "a quote by another key", q.Verify(&other.PublicKey), verify.TPMSignature)
	wantCheck(t, "no key", q.Verify(nil), verify.TPMSignature)
	large, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	wantCheck(t, "a key on P-521", q.Verify(&large.PublicKey), verify.TPMSignature)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	wantCheck(t, "an RSA key for an ECDSA signature", q.Verify(&rsaKey.PublicKey), verify.TPMSignature)
	short := rsa.PublicKey{N: rsaKey.N.Rsh(rsaKey.N, 1024), E: 65537}
	wantCheck(t, "a key of 1,024 bits", q.Verify(&short), verify.TPMSignature)
}

func TestAnAKsPlaceInTheTreeIsKnown(t *testing.T) {
	v := swtpm.Start(t)
	template := swtpm.Template(false, nil)
	check := func(ak *swtpm.AK) error {
		t.Helper()
		item, _ := ak.Quote(nil, selection...)
		q, public := mustQuote(t, item), mustPublic(t, ak.Public)
		if err := q.Verify(public.Key()); err != nil {
			t.Fatal(err)
		}
		return tpm.CheckAKTemplate(public, q, public.Key())
	}
	var unknown *tpm.ParentError
	for hierarchy, name := range map[tpm2.TPMHandle]string{tpm2.TPMRHNull: "null", tpm2.TPMRHPlatform: "platform"} {
		ak := v.CreateIn(hierarchy, template)
		err := check(ak)
		wantCheck(t, "a primary key of the "+name+" hierarchy", err, verify.TPMAKTemplate)
		if errors.As(err, &unknown) || !bytes.Contains([]byte(err.Error()), []byte(name)) {
			t.Errorf("%v: want the %s hierarchy named", err, name)
		}
		ak.Flush()
	}
	for _, hierarchy := range []tpm2.TPMHandle{tpm2.TPMRHEndorsement, tpm2.TPMRHOwner} {
		ak := v.CreateIn(hierarchy, template)
		if err := check(ak); err != nil {
			t.Error(err)
		}
		ak.Flush()
	}
	srk := v.CreateIn(tpm2.TPMRHOwner, tpm2.ECCSRKTemplate)
	child := v.CreateUnder(srk, template)
	err := check(child)
	wantCheck(t, "a key under a storage key", err, verify.TPMAKTemplate)
	if !errors.As(err, &unknown) {
		t.Fatalf("%v: want a ParentError", err)
	}
	if name := mustPublic(t, child.Public).QualifiedName(srk.QualifiedName()); !bytes.Equal(name, unknown.QualifiedSigner) {
		t.Errorf("under the known parent the name is %x, the TPM signed %x", name, unknown.QualifiedSigner)
	}
}

func TestAResetShowsInTheNextQuoteAndTheAKStays(t *testing.T) {
	v := swtpm.Start(t)
	v.Extend(7, []byte("boot"))
	before := v.Create(swtpm.Template(false, nil))
	item, values := before.Quote(nil, selection...)
	q := mustQuote(t, item)
	v.Reset()
	after := v.Create(swtpm.Template(false, nil))
	again, fresh := after.Quote(nil, selection...)
	r := mustQuote(t, again)
	if r.ResetCount != q.ResetCount+1 || r.Boot() == q.Boot() || r.Firmware != q.Firmware {
		t.Errorf("before: %d resets, after: %d", q.ResetCount, r.ResetCount)
	}
	if r.Safe {
		t.Error("the clock is safe though the power was cut")
	}
	if !bytes.Equal(before.Public, after.Public) || bytes.Equal(values, fresh) {
		t.Error("the AK changed, or PCR 7 did not")
	}
	_, err := tpm.CheckPCRs(r, values)
	wantCheck(t, "the last boot's values", err, verify.TPMPCRDigest)
}

func TestThePolicyOfAKeyIsThatOfARealTPM(t *testing.T) {
	v := swtpm.Start(t)
	v.Extend(7, []byte("boot"))
	item, values := v.Create(swtpm.Template(false, nil)).Quote(nil, selection...)
	q := mustQuote(t, item)
	if _, err := tpm.CheckPCRs(q, values); err != nil {
		t.Fatal(err)
	}
	policy := v.PolicyPCR(selection...)
	// Both hash with SHA-256, so the quote's digest is the policy's.
	if got := tpm.PolicyPCRDigest(tpm.SHA256, q.Selection, q.PCRDigest); !bytes.Equal(got, policy) {
		t.Errorf("policy %x: the TPM makes %x", got, policy)
	}
	bound := mustPublic(t, v.Create(swtpm.Template(false, policy)).Public)
	if !bytes.Equal(bound.AuthPolicy(), policy) || !bound.PolicyOnly() || bound.NameAlg() != tpm.SHA256 {
		t.Errorf("policy %x, alone %t, by %s", bound.AuthPolicy(), bound.PolicyOnly(), bound.NameAlg())
	}
	if mustPublic(t, v.Create(swtpm.Template(false, nil)).Public).PolicyOnly() {
		t.Error("a key with a password is said to be under its policy alone")
	}
}
