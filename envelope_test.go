package poclog_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/poclog/poclog"
)

// publisherVectors are of what says who publishes: envelopes, and keys in policies.
func publisherVectors(t *testing.T, files map[string]string) map[string]vector {
	t.Helper()
	all := make(map[string]vector)
	signed := &poclog.Envelope{PayloadType: poclog.BundleType, Payload: []byte("bundle"), Signatures: sampleEnvelope().Signatures}
	keys := samplePolicy()
	keys.Publishers = &poclog.Publishers{Threshold: 3, Keys: []string{sampleKey(0).String(), sampleKey(1).String(), sampleKey(2).String()}}
	for name, v := range map[string]vector{
		"envelope-of-bundle":   {Desc: "a signed bundle", Format: "envelope", Input: string(must(t, signed))},
		"policy-publishers":    {Desc: "a key of each kind", Format: "policy", Input: string(must(t, keys))},
		"entry-without-signer": {Desc: "an entry that nobody signed", Format: "entry", Input: string(must(t, unsignedEntry()))},
	} {
		v.Expect, v.Digest = "ok", poclog.Sum([]byte(v.Input)).String()
		all[name] = v
	}
	for name, v := range refusedPublisherVectors(t, files) {
		v.Expect = expectOf(t, v.Format, v.Input)
		all[name] = v
	}
	return all
}

func unsignedEntry() *poclog.Entry {
	e := sampleEntry()
	e.Publishers, e.Evidence.Envelope = nil, poclog.Blob{}
	return e
}

func refusedPublisherVectors(t *testing.T, files map[string]string) map[string]vector {
	t.Helper()
	v, e, p := files["envelope"], files["entry"], files["policy"]
	one := sampleKey(0).String()
	list := v[strings.Index(v, "["):]
	return map[string]vector{
		"envelope-duplicate-member": {Desc: "a member twice", Format: "envelope", Input: strings.Replace(v, `,"signatures"`, `,"payload":"Yg==","signatures"`, 1)},
		"envelope-order":            {Desc: "members in another order", Format: "envelope", Input: `{"payload":"YnVuZGxl","payloadType":"application/vnd.poclog.bundle+json","signatures":` + list},
		"envelope-payload-type":     {Desc: "a payload of another type", Format: "envelope", Input: strings.Replace(v, poclog.SubmissionType, "application/vnd.in-toto+json", 1)},
		"envelope-no-payload-type":  {Desc: "no payload type", Format: "envelope", Input: strings.Replace(v, poclog.SubmissionType, "", 1)},
		"envelope-not-its-type":     {Desc: "a payload that is not of its type", Format: "envelope", Input: strings.Replace(v, "eyJ2", "eyJ3", 1)},
		"envelope-no-payload":       {Desc: "no payload", Format: "envelope", Input: `{"payloadType":"application/vnd.poclog.bundle+json","payload":"","signatures":` + list},
		"envelope-unsigned":         {Desc: "no signatures", Format: "envelope", Input: strings.Replace(v, list, "[]}", 1)},
		"envelope-null-signatures":  {Desc: "null for signatures", Format: "envelope", Input: strings.Replace(v, list, "null}", 1)},
		"envelope-17-signatures":    {Desc: "a signature too many", Format: "envelope", Input: strings.Replace(v, list, "["+strings.Repeat(`{"keyid":"a","sig":"AA=="},`, 16)+`{"keyid":"a","sig":"AA=="}]}`, 1)},
		"envelope-no-keyid":         {Desc: "a signature that does not say by which key", Format: "envelope", Input: strings.Replace(v, `"keyid":"SHA256:one",`, "", 1)},
		"envelope-empty-keyid":      {Desc: "an empty key id", Format: "envelope", Input: strings.Replace(v, "SHA256:one", "", 1)},
		"envelope-unknown-in-sig":   {Desc: "a member of a signature that no one knows", Format: "envelope", Input: strings.Replace(v, `{"keyid"`, `{"cert":"","keyid"`, 1)},
		"envelope-base64url":        {Desc: "base64url", Format: "envelope", Input: `{"payloadType":"application/vnd.poclog.bundle+json","payload":"_-8=","signatures":` + list},
		"envelope-no-padding":       {Desc: "base64 without padding", Format: "envelope", Input: `{"payloadType":"application/vnd.poclog.bundle+json","payload":"Yg","signatures":` + list},
		"envelope-base64-bits":      {Desc: "base64 whose last bits are not zero", Format: "envelope", Input: `{"payloadType":"application/vnd.poclog.bundle+json","payload":"Yh==","signatures":` + list},
		"envelope-long-signature":   {Desc: "a signature longer than any", Format: "envelope", Input: strings.Replace(v, base64.StdEncoding.EncodeToString(fill(64, 1)), strings.Repeat("AAAA", 60), 1)},
		"entry-signer-only":         {Desc: "publishers without their envelope", Format: "entry", Input: strings.Replace(e, `"envelope":{"sha256":"`+poclog.Sum([]byte("envelope")).String()+`","size":8},`, "", 1)},
		"entry-signers-unsorted":    {Desc: "publishers out of order", Format: "entry", Input: strings.Replace(e, `"publishers":["`, `"publishers":["`+strings.Repeat("ff", 32)+`","`, 1)},
		"entry-signer-twice":        {Desc: "a publisher twice", Format: "entry", Input: strings.Replace(e, `"publishers":["`, `"publishers":["`+sampleEntry().Publishers[0].String()+`","`, 1)},
		"policy-key-rsa":            {Desc: "an RSA key", Format: "policy", Input: strings.Replace(p, one, rsaKey(t), 1)},
		"policy-key-no-base64":      {Desc: "a key that is no base64", Format: "policy", Input: strings.Replace(p, one, "?", 1)},
		"policy-key-trailing":       {Desc: "a byte after a key", Format: "policy", Input: strings.Replace(p, one, reform(t, one, func(b []byte) []byte { return append(b, 0) }), 1)},
		"policy-key-no-padding":     {Desc: "a key in base64 without padding", Format: "policy", Input: strings.Replace(p, one, strings.TrimRight(one, "="), 1)},
		"policy-key-twice":          {Desc: "one key twice", Format: "policy", Input: strings.Replace(p, `"`+one+`"`, `"`+one+"\",\n      \""+one+`"`, 1)},
		"policy-threshold-zero":     {Desc: "a threshold of none", Format: "policy", Input: strings.Replace(p, `"threshold": 1`, `"threshold": 0`, 1)},
		"policy-threshold-over":     {Desc: "a threshold over the keys", Format: "policy", Input: strings.Replace(p, `"threshold": 1`, `"threshold": 2`, 1)},
	}
}

// reform changes the bytes of a key in base64.
func reform(t *testing.T, key string, change func([]byte) []byte) string {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(key)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(change(b))
}

// rsaKey is an RSA key of 2,048 bits, all ones: it only has to parse.
func rsaKey(t *testing.T) string {
	t.Helper()
	return spki(t, &rsa.PublicKey{N: new(big.Int).SetBytes(fill(256, 0xff)), E: 65537})
}

// spki is a key's SubjectPublicKeyInfo in base64.
func spki(t *testing.T, public any) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(der)
}

func TestPublisherKeyHasOneForm(t *testing.T) {
	for i := range 3 {
		text := sampleKey(i).String()
		k, err := poclog.ParsePublisherKey(text)
		if err != nil || k.String() != text || k.Digest != sampleKey(i).Digest {
			t.Fatalf("%s: %+v, %v", text, k, err)
		}
		der, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		if k.Digest != poclog.Sum(der) {
			t.Errorf("digest %s is not that of the SubjectPublicKeyInfo", k.Digest)
		}
		for at := range der {
			for bit := range 8 {
				changed := bytes.Clone(der)
				changed[at] ^= 1 << bit
				other, err := poclog.ParsePublisherKey(base64.StdEncoding.EncodeToString(changed))
				if err == nil && other.Digest == k.Digest {
					t.Fatalf("bit %d of byte %d changes the key and not its name", bit, at)
				}
			}
		}
	}
}

func TestPublisherKeyOfAnotherKindIsRefused(t *testing.T) {
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p521, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, public := range map[string]any{"P-521": p521.Public(), "a private key": p256, "a short key": ed25519.PublicKey{1}, "nothing": nil} {
		if k, err := poclog.NewPublisherKey(public); err == nil {
			if _, err := poclog.ParsePublisherKey(k.String()); err == nil {
				t.Errorf("%s is taken", name)
			}
		}
	}
	// X.509 knows the point in compressed form too; a policy does not.
	short := elliptic.MarshalCompressed(elliptic.P256(), p256.X, p256.Y)
	compressed := reform(t, spki(t, p256.Public()), func(der []byte) []byte {
		out := append(bytes.Clone(der[:len(der)-65]), short...)
		out[1], out[len(out)-35] = byte(len(out)-2), 34
		return out
	})
	if _, err := poclog.ParsePublisherKey(compressed); err == nil {
		t.Error("a compressed point is taken")
	}
}

func TestEnvelopeGivesItsSubmission(t *testing.T) {
	sub := &poclog.Submission{Bundle: []byte("bundle"), Collateral: []byte("collateral"), Judged: poclog.UnixTime(1780922561)}
	for _, v := range []*poclog.Envelope{
		{PayloadType: poclog.BundleType, Payload: sub.Bundle}, {PayloadType: poclog.SubmissionType, Payload: must(t, sub)},
	} {
		v.Signatures = sampleEnvelope().Signatures
		back, err := poclog.ParseEnvelope(must(t, v))
		if err != nil {
			t.Fatal(err)
		}
		got, err := back.Submission()
		if err != nil || !bytes.Equal(got.Bundle, sub.Bundle) || len(got.Envelope) != 0 {
			t.Errorf("%s: %+v, %v", v.PayloadType, got, err)
		}
		if v.PayloadType == poclog.SubmissionType && (!bytes.Equal(got.Collateral, sub.Collateral) || !got.Judged.Equal(sub.Judged)) {
			t.Errorf("%+v", got)
		}
	}
}

func TestLargestEnvelopeFits(t *testing.T) {
	sub := &poclog.Submission{Bundle: fill(poclog.MaxBundle, 'b'), Collateral: fill(poclog.MaxCollateral, 'c'), Judged: poclog.UnixTime(1780922561)}
	v := &poclog.Envelope{PayloadType: poclog.SubmissionType, Payload: must(t, sub)}
	for i := range poclog.MaxSignatures {
		v.Signatures = append(v.Signatures, poclog.Signature{KeyID: fmt.Sprintf("SHA256:%043d", i), Sig: fill(104, 1)})
	}
	file := must(t, v)
	if len(file) > poclog.MaxEnvelope || len(file) < poclog.MaxEnvelope-8<<10 {
		t.Errorf("%d bytes, and the limit is %d", len(file), poclog.MaxEnvelope)
	}
	v.PayloadType, v.Payload = poclog.BundleType, fill(poclog.MaxBundle+1, 'b')
	if _, err := v.Marshal(); err == nil {
		t.Error("a bundle over its limit is written")
	}
	if _, err := poclog.ParseEnvelope(fill(poclog.MaxEnvelope+1, ' ')); err == nil || !strings.Contains(err.Error(), "want at most") {
		t.Errorf("over the limit: %v", err)
	}
}

func FuzzEnvelope(f *testing.F) {
	f.Add(must(f, sampleEnvelope()))
	f.Fuzz(func(t *testing.T, file []byte) {
		v, err := poclog.ParseEnvelope(file)
		if err != nil {
			return
		}
		if again, err := v.Marshal(); err != nil || !bytes.Equal(again, file) {
			t.Errorf("written as %q, %v", again, err)
		}
	})
}
