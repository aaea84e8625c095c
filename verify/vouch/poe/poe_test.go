package poe_test

import (
	"bytes"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/veraison/go-cose"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/endorser"
	"github.com/poclog/poclog/internal/vectors"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/vouch/poe"
)

var (
	start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at    = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	piid  = []byte("0123456789abcdef")
	owner = endorser.NewOwner("verify/vouch/poe", "owner.test", start)
	roots = map[[32]byte]bool{owner.Policy().SHA256: true}
)

func statement() endorser.Statement { return owner.Statement(piid, at.AddDate(0, -1, 0)) }

func wantRefused(t *testing.T, name string, err error, why string) {
	t.Helper()
	if got, ok := verify.CheckOf(err); !ok || got != verify.EndorseOwner || !strings.Contains(err.Error(), why) || strings.Contains(err.Error(), "\n") {
		t.Errorf("%s: %v: want %s, with %q", name, err, verify.EndorseOwner, why)
	}
}

func TestEndorsementOfAnOwnerIsBelieved(t *testing.T) {
	for name, edit := range map[string]func(*endorser.Statement){
		"as the draft's revision 02 has it": func(*endorser.Statement) {},
		"ES384":                             func(s *endorser.Statement) { s.Alg = -35 },
		"the root beside it":                func(s *endorser.Statement) { s.WithoutRoot = true },
		"the profile as revision 01 has it": func(s *endorser.Statement) { s.ProfileUntagged = true },
		"32 octets":                         func(s *endorser.Statement) { s.PIID = bytes.Repeat([]byte{9}, 32) },
	} {
		st := statement()
		edit(&st)
		item := owner.Endorse(st)
		e, err := poe.Check(&item, roots, at)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if e.Owner != "owner.test" || !bytes.Equal(e.PIID, st.PIID) || !e.NotBefore.Equal(st.From) || !e.NotAfter.Equal(st.Until) || e.Root != owner.Policy().SHA256 || e.Signer != "CN=owner.test" {
			t.Errorf("%s: %+v", name, e)
		}
		if err := e.CheckPlatform(st.PIID); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		wantRefused(t, name, e.CheckPlatform(append(slices.Clone(st.PIID), 0)), "for platform instance")
	}
}

func TestEndorsementHoldsWhileItAndItsCertificatesAreValid(t *testing.T) {
	st := statement()
	st.Until = at.AddDate(20, 0, 0)
	item := owner.Endorse(st)
	expiry := start.AddDate(5, 0, 0) // of the certificates
	for _, c := range []struct {
		at time.Time
		ok bool
	}{{st.From, true}, {st.From.Add(-time.Second), false}, {expiry, true}, {expiry.Add(time.Second), false}} {
		e, err := poe.Check(&item, roots, c.at)
		if !c.ok {
			wantRefused(t, c.at.String(), err, "valid from")
		} else if err != nil || !e.Issued.Equal(st.From) || !e.Until.Equal(expiry) {
			t.Errorf("at %s: %v", c.at, err)
		}
	}
}

func TestSignerMustBeTheOwners(t *testing.T) {
	st := statement()
	item := owner.Endorse(st)
	_, err := poe.Check(&item, nil, at)
	wantRefused(t, "no root", err, "not one that the policy lists")

	garage := endorser.NewOwner("a garage", "owner.test", start).Endorse(st)
	_, err = poe.Check(&garage, roots, at)
	wantRefused(t, "another's root", err, "not one that the policy lists")

	// The true chain stands above a signature of another's.
	forged := item
	forged.Body = splice(t, item.Body, garage.Body)
	_, err = poe.Check(&forged, roots, at)
	wantRefused(t, "another's signature", err, "not by the certified key")

	alone := owner.Endorse(endorser.Statement{PIID: piid, Owner: "x", From: at, Until: at, Alg: -51, WithoutRoot: true})
	twice := item
	twice.Chain = alone.Chain
	_, err = poe.Check(&twice, roots, at)
	wantRefused(t, "a root twice", err, "it issued itself")
	garbage := alone
	garbage.Chain = []byte("x")
	_, err = poe.Check(&garbage, roots, at)
	wantRefused(t, "garbage for a root", err, "the root beside it")
	alone.Chain = nil
	_, err = poe.Check(&alone, roots, at)
	wantRefused(t, "no root beside it", err, "chain of 1 certificates")
	two := alone
	two.Chain = bytes.Repeat(twice.Chain, 2)
	_, err = poe.Check(&two, roots, at)
	wantRefused(t, "two roots beside it", err, "2 certificates beside it")
}

// splice puts b's signature under a.
func splice(t *testing.T, a, b []byte) []byte {
	t.Helper()
	const size = 96
	if len(a) < size || len(b) < size {
		t.Fatal("no signature")
	}
	return append(slices.Clone(a[:len(a)-size]), b[len(b)-size:]...)
}

// go-cose is another implementation of COSE: what the laboratory signs it verifies, and what it
// signs is read here. It knows ES384 alone.
func TestOtherCOSEImplementation(t *testing.T) {
	st := statement()
	st.Alg = -35
	item := owner.Endorse(st)
	var m cose.Sign1Message
	if err := m.UnmarshalCBOR(item.Body); err != nil {
		t.Fatal(err)
	}
	chain := m.Headers.Unprotected[cose.HeaderLabelX5Chain].([]any)
	leaf, err := x509.ParseCertificate(chain[0].([]byte))
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := cose.NewVerifier(cose.AlgorithmES384, leaf.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Verify(nil, verifier); err != nil {
		t.Errorf("go-cose: %v", err)
	}

	signer, err := cose.NewSigner(cose.AlgorithmES384, owner.Key().PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	m.Headers.RawProtected = nil
	m.Headers.Protected[cose.HeaderLabelContentType] = "application/rim+cbor"
	m.Signature = nil
	if err := m.Sign(fixed{}, nil, signer); err != nil {
		t.Fatal(err)
	}
	if item.Body, err = m.MarshalCBOR(); err != nil {
		t.Fatal(err)
	}
	if _, err := poe.Check(&item, roots, at); err != nil {
		t.Errorf("signed by go-cose: %v", err)
	}
	if owner.Key().Curve != elliptic.P384() {
		t.Error("another curve")
	}
}

// fixed is a source of no randomness.
type fixed struct{}

func (fixed) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// Nothing can be changed in an endorsement: no byte of it is unsigned but those of the chain, and
// that has one form, too.
func TestEveryByteOfAnEndorsementCounts(t *testing.T) {
	item := owner.Endorse(statement())
	for i := range item.Body {
		forged := item
		forged.Body = slices.Clone(item.Body)
		forged.Body[i] ^= 1
		if _, err := poe.Check(&forged, roots, at); err == nil {
			t.Errorf("byte %d changed: accepted", i)
		}
	}
}

// A vector is an endorsement, and whether a reader takes it.
type vector struct {
	Desc   string `json:"desc"`
	Input  string `json:"input"` // hexadecimal
	Root   string `json:"root"`  // SHA-256 of the root certificate that must be above its signer
	At     string `json:"at"`
	Expect string `json:"expect"`
}

func (v *vector) read() error {
	body, err := hex.DecodeString(v.Input)
	if err != nil {
		return err
	}
	root, err := poclog.ParseDigest(v.Root)
	if err != nil {
		return err
	}
	when, err := time.Parse(time.RFC3339, v.At)
	if err != nil {
		return err
	}
	_, err = poe.Check(&poclog.CollateralItem{Kind: poclog.OwnerEndorsement, Body: body}, map[[32]byte]bool{root: true}, when)
	return err
}

func TestVectors(t *testing.T) {
	if vectors.Updating() {
		vectors.Write(t, "testdata", makeVectors(t))
	}
	vectors.Each(t, "testdata", func(t *testing.T, v vector) {
		if err := v.read(); (v.Expect == "ok") != (err == nil) {
			t.Errorf("%s: %v: want %s", v.Desc, err, v.Expect)
		}
	})
}

// sign1 is COSE_Sign1.
type sign1 struct {
	_           struct{} `cbor:",toarray"`
	Protected   []byte
	Unprotected map[int64]any
	Payload     []byte
	Signature   []byte
}

func FuzzParse(f *testing.F) {
	item := owner.Endorse(statement())
	f.Add(item.Body)
	legacy := statement()
	legacy.Alg, legacy.ProfileUntagged, legacy.WithoutRoot = -35, true, true
	f.Add(owner.Endorse(legacy).Body)
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := poe.Parse(b)
		if err != nil {
			wantRefused(t, "endorsement", err, "ownership endorsement")
			return
		}
		if !poclog.CanSay(e.Owner) || len(e.PIID) != 16 && len(e.PIID) != 32 || e.NotAfter.Before(e.NotBefore) {
			t.Errorf("%+v", e)
		}
		// One form: what a general encoder makes of the same values is the same bytes.
		var m sign1
		if err := cbor.Unmarshal(b, &m); err != nil {
			t.Fatalf("accepted, but %v", err)
		}
		mode, err := cbor.CoreDetEncOptions().EncMode()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := mode.Marshal(cbor.Tag{Number: 18, Content: m}); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x is written as %x", b, again)
		}
		if _, err := poe.Check(&poclog.CollateralItem{Kind: poclog.OwnerEndorsement, Body: b}, roots, at); err == nil && !bytes.Equal(e.PIID, piid) {
			t.Errorf("forged: %x", b)
		}
	})
}
