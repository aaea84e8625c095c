package dsse_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"fmt"
	"io"
	"os"
	"slices"
	"testing"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/vectors"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/vouch/dsse"
)

// A signer is a publisher with a key that is the same each time.
type signer struct {
	key  *poclog.PublisherKey
	sign func(msg []byte) []byte
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // a test's own
	}
	return v
}

func ed25519Signer(seed byte) signer {
	k := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
	return signer{must(poclog.NewPublisherKey(k.Public())), func(msg []byte) []byte { return ed25519.Sign(k, msg) }}
}

func ecdsaSigner(c elliptic.Curve, hash crypto.Hash) signer {
	k := must(ecdsa.ParseRawPrivateKey(c, bytes.Repeat([]byte{7}, c.Params().BitSize/8)))
	return signer{must(poclog.NewPublisherKey(k.Public())), func(msg []byte) []byte {
		h := hash.New()
		h.Write(msg)
		return must(k.Sign(nil, h.Sum(nil), hash)) // without randomness: RFC 6979
	}}
}

var (
	alice = ed25519Signer(1)
	bob   = ecdsaSigner(elliptic.P256(), crypto.SHA256)
	carol = ecdsaSigner(elliptic.P384(), crypto.SHA384)
	eve   = ed25519Signer(2) // no publisher
)

// pae is DSSE's pre-authentication encoding, as its specification has it.
func pae(payloadType string, payload []byte) []byte {
	return fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(payloadType), payloadType, len(payload), payload)
}

func keyID(s signer) string { return must(dsse.KeyID(s.key)) }

// seal is an envelope that signers signed.
func seal(payloadType string, payload []byte, by ...signer) *poclog.Envelope {
	v := &poclog.Envelope{PayloadType: payloadType, Payload: payload}
	for _, s := range by {
		v.Signatures = append(v.Signatures, poclog.Signature{KeyID: keyID(s), Sig: s.sign(pae(payloadType, payload))})
	}
	return v
}

func publishers(threshold int, list ...signer) *poclog.Publishers {
	p := &poclog.Publishers{Threshold: threshold}
	for _, s := range list {
		p.Keys = append(p.Keys, s.key.String())
	}
	slices.Sort(p.Keys)
	return p
}

// A vector is an envelope under a policy's list of publishers.
type vector struct {
	Desc       string             `json:"desc"`
	Publishers *poclog.Publishers `json:"publishers,omitempty"`
	Bundle     string             `json:"bundle"`
	Envelope   string             `json:"envelope"`
	Expect     string             `json:"expect"`            // "ok", or the check that refuses
	Signers    []poclog.Digest    `json:"signers,omitempty"` // of what is accepted
}

const bundle = `{"__cmwc_t":"tag:poclog.dev,2026:bundle"}`

func makeVectors() map[string]vector {
	all := map[string]vector{}
	two, three := publishers(2, alice, bob, carol), publishers(3, alice, bob, carol)
	add := func(name, desc, expect string, p *poclog.Publishers, v *poclog.Envelope) {
		x := vector{Desc: desc, Publishers: p, Bundle: bundle, Expect: expect}
		if v != nil {
			x.Envelope = string(must(v.Marshal()))
		}
		all[name] = x
	}
	good := func(by ...signer) *poclog.Envelope { return seal(poclog.BundleType, []byte(bundle), by...) }
	sub := must((&poclog.Submission{Bundle: []byte(bundle), Collateral: []byte("collateral"), Judged: poclog.UnixTime(1780922561)}).Marshal())
	refused := string(verify.PublisherSignature)

	add("two-of-three", "two publishers of three", "ok", two, good(bob, alice))
	add("three-of-three", "a key of each kind", "ok", three, good(alice, bob, carol))
	add("submission", "a signed submission", "ok", publishers(1, alice), seal(poclog.SubmissionType, sub, alice))
	add("nobody-asked", "a policy without publishers, and no envelope", "ok", nil, nil)
	add("not-asked-for", "signatures whose keys no policy lists", refused, nil, good(alice))
	add("unsigned", "no envelope", refused, two, nil)
	add("too-few", "one publisher of three, and the policy wants two", refused, two, good(alice))
	add("same-key-twice", "one publisher twice", refused, two, good(alice, alice))
	add("unknown-key", "a key that the policy does not list", refused, two, good(alice, eve))
	add("unknown-beside-enough", "a key that the policy does not list, beside enough that it lists", refused, two, good(alice, bob, eve))

	forged := good(alice, bob)
	forged.Signatures[1].Sig = eve.sign(pae(poclog.BundleType, []byte(bundle)))
	add("another-keys-signature", "a stranger's signature under a publisher's name", refused, two, forged)
	swapped := good(alice, bob)
	swapped.Signatures[0].KeyID, swapped.Signatures[1].KeyID = swapped.Signatures[1].KeyID, swapped.Signatures[0].KeyID
	add("names-swapped", "two publishers under each other's names", refused, two, swapped)
	bad := good(alice, bob, carol)
	bad.Signatures[2].Sig[20] ^= 1
	add("bad-beside-enough", "a bad signature beside enough good ones", refused, two, bad)
	disguised := good(alice, bob)
	disguised.Signatures[0].KeyID = keyID(carol)
	disguised.Signatures = append(disguised.Signatures, good(alice).Signatures[0])
	add("one-key-two-names", "one publisher under its own name and another's", refused, two, disguised)
	retyped := seal(poclog.SubmissionType, sub, alice, bob)
	retyped.Signatures = seal(poclog.BundleType, sub, alice, bob).Signatures
	add("another-type-signed", "signatures over the payload as of another type", refused, two, retyped)
	plain := good(alice, bob)
	for i, s := range []signer{alice, bob} {
		plain.Signatures[i].Sig = s.sign([]byte(bundle))
	}
	add("without-type", "signatures over the payload without its type", refused, two, plain)
	add("another-bundle", "another bundle than the one that is judged", refused, two, seal(poclog.BundleType, []byte(bundle+" "), alice, bob))
	other := must((&poclog.Submission{Bundle: []byte("another")}).Marshal())
	add("another-bundle-in-submission", "a submission of another bundle than the one that is judged", refused, two, seal(poclog.SubmissionType, other, alice, bob))
	short := seal(poclog.BundleType, []byte(bundle), alice, ecdsaSigner(elliptic.P384(), crypto.SHA256))
	add("p384-sha256", "a signature of P-384 over SHA-256", refused, two, short)
	return all
}

func (v *vector) verify() ([]poclog.Digest, error) {
	p, err := dsse.New(v.Publishers)
	if err != nil {
		return nil, err
	}
	return p.Verify([]byte(v.Envelope), []byte(v.Bundle))
}

func TestVectors(t *testing.T) {
	if vectors.Updating() {
		all := makeVectors()
		for name, v := range all {
			v.Signers, _ = v.verify() // what is refused has none
			all[name] = v
		}
		vectors.Write(t, "testdata", all)
	}
	vectors.Each(t, "testdata", func(t *testing.T, v vector) {
		got, err := v.verify()
		check, _ := verify.CheckOf(err)
		if v.Expect == "ok" && (err != nil || !slices.Equal(got, v.Signers)) || v.Expect != "ok" && string(check) != v.Expect {
			t.Errorf("%s: %x, %v: want %s by %x", v.Desc, got, err, v.Expect, v.Signers)
		}
	})
}

// Of a good envelope every byte counts: a bit of each is changed, or all of them with
// POCLOG_EVERY_BYTE.
func TestEveryByteOfAnEnvelopeCounts(t *testing.T) {
	p := must(dsse.New(publishers(3, alice, bob, carol)))
	file := must(seal(poclog.BundleType, []byte(bundle), alice, bob, carol).Marshal())
	if _, err := p.Verify(file, []byte(bundle)); err != nil {
		t.Fatal(err)
	}
	for i := range file {
		for bit := range 8 {
			if bit != i%8 && os.Getenv("POCLOG_EVERY_BYTE") == "" {
				continue
			}
			changed := bytes.Clone(file)
			changed[i] ^= 1 << bit
			if _, err := p.Verify(changed, []byte(bundle)); err == nil {
				t.Fatalf("bit %d of byte %d: %.30q passes", bit, i, changed[max(0, i-10):])
			}
		}
	}
	for i := range file {
		if _, err := p.Verify(file[:i], []byte(bundle)); err == nil {
			t.Fatalf("the first %d bytes pass", i)
		}
	}
}

// The library behind this package prints to standard output, where results of commands stand, when
// a key signs twice.
func TestNothingIsPrinted(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout := os.Stdout
	os.Stdout = w
	for _, v := range makeVectors() {
		v.verify()
	}
	os.Stdout = stdout
	w.Close()
	if out, err := io.ReadAll(r); err != nil || len(out) > 0 {
		t.Errorf("%q, %v", out, err)
	}
}

func TestListThatCannotBeKeptIsRefused(t *testing.T) {
	for name, p := range map[string]*poclog.Publishers{
		"no keys":                 {Threshold: 1},
		"a threshold of none":     publishers(0, alice),
		"a threshold over all":    publishers(2, alice),
		"one key twice":           {Threshold: 2, Keys: []string{alice.key.String(), alice.key.String()}},
		"a key that is no key":    {Threshold: 1, Keys: []string{"AAAA"}},
		"a negative threshold":    publishers(-1, alice),
		"a key in another's form": {Threshold: 1, Keys: []string{alice.key.String() + "\n"}},
	} {
		if _, err := dsse.New(p); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func FuzzVerify(f *testing.F) {
	for _, v := range makeVectors() {
		f.Add([]byte(v.Envelope))
	}
	p := must(dsse.New(publishers(1, alice, bob, carol)))
	f.Fuzz(func(t *testing.T, file []byte) {
		got, err := p.Verify(file, []byte(bundle))
		if _, refused := verify.CheckOf(err); (err != nil) != refused {
			t.Errorf("an error without a check: %v", err)
		}
		if err == nil && len(got) == 0 {
			t.Error("accepted, and nobody signed")
		}
	})
}
