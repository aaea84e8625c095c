package tpm_test

import (
	"bytes"
	"crypto/rsa"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/poclog/poclog/internal/vectors"
	"github.com/poclog/poclog/verify/tpm"
)

const vectorDir = "testdata"

// A vector is an input of one parser. Where it is accepted, Marshal gives the same bytes.
type vector struct {
	Desc   string `json:"desc"`
	Format string `json:"format"` // quote, public, hcl-report or gce-instance
	Input  string `json:"input"`  // hexadecimal
	Expect string `json:"expect"` // ok or refused
}

// read parses the input and writes it again.
func (v vector) read() ([]byte, []byte, error) {
	in, err := hex.DecodeString(v.Input)
	if err != nil {
		return nil, nil, err
	}
	switch v.Format {
	case "quote":
		q, err := tpm.ParseQuote(in)
		if err != nil {
			return in, nil, err
		}
		return in, q.Marshal(), nil
	case "public":
		p, err := tpm.ParsePublic(in)
		if err != nil {
			return in, nil, err
		}
		return in, p.Marshal(), nil
	case "hcl-report":
		_, err := tpm.ParseHCL(in)
		return in, in, err
	case "gce-instance":
		g, err := tpm.ParseGCEInstance(withExtension(in))
		if err != nil {
			return in, nil, err
		}
		again, err := g.Marshal()
		return in, again, err
	}
	return nil, nil, fmt.Errorf("unknown format %q", v.Format)
}

func TestVectors(t *testing.T) {
	if vectors.Updating() {
		vectors.Write(t, vectorDir, makeVectors(t))
	}
	vectors.Each(t, vectorDir, func(t *testing.T, v vector) {
		in, again, err := v.read()
		if (v.Expect == "ok") != (err == nil) {
			t.Fatalf("%s: %v: want %s", v.Desc, err, v.Expect)
		}
		if err == nil && !bytes.Equal(in, again) {
			t.Errorf("%s: written as other bytes", v.Desc)
		}
	})
}

// A maker collects vectors, all of which it has seen to do what they should.
type maker struct {
	t   *testing.T
	all map[string]vector
}

func (m maker) add(name, format, desc, expect string, input []byte) {
	v := vector{Desc: desc, Format: format, Input: hex.EncodeToString(input), Expect: expect}
	if _, _, err := v.read(); (err == nil) != (expect == "ok") {
		m.t.Errorf("%s: %v: want %s", name, err, expect)
	}
	if _, twice := m.all[name]; twice {
		m.t.Errorf("%s twice", name)
	}
	m.all[name] = v
}

func makeVectors(t *testing.T) map[string]vector {
	m := maker{t, make(map[string]vector)}
	m.quotes()
	m.publics()
	m.reports()
	m.instances()
	return m.all
}

// edit replaces n bytes at an offset.
func edit(b []byte, offset, n int, with ...byte) []byte {
	return bytes.Join([][]byte{b[:offset], with, b[offset+n:]}, nil)
}

// attestOf wraps an edited TPMS_ATTEST with the signature of the original: parsers do not judge it.
func attestOf(item, attest []byte) []byte {
	end := 2 + int(binary.BigEndian.Uint16(item))
	return bytes.Join([][]byte{binary.BigEndian.AppendUint16(nil, uint16(len(attest))), attest, item[end:]}, nil)
}

func (m maker) quotes() {
	item := builtQuote(m.t)
	end := 2 + int(binary.BigEndian.Uint16(item))
	attest := item[2:end]
	// Offsets: magic 0, type 4, qualifiedSigner 6 (2+34), extraData 42 (2+5), clockInfo 49 (17),
	// firmware 66, selection 74.
	const clock, selection = 49, 74
	m.add("quote", "quote", "a quote of two banks", "ok", item)
	refuse := func(name, desc string, b []byte) { m.add("quote-"+name, "quote", desc, "refused", b) }
	refuse("padded", "a byte after the signature", append(bytes.Clone(item), 0))
	refuse("empty", "nothing", nil)
	refuse("unsigned", "no signature", item[:end])
	refuse("attest-long", "a TPMS_ATTEST longer than the item", edit(item, 0, 2, 0x0f, 0xff))
	refuse("attest-huge", "a TPMS_ATTEST of over 4,096 bytes", append([]byte{0xff, 0xff}, make([]byte, 0xffff)...))
	refuse("attest-padded", "a byte after the PCR digest", attestOf(item, append(bytes.Clone(attest), 0)))
	refuse("magic", "what a TPM does not generate", attestOf(item, edit(attest, 0, 1, 0)))
	refuse("certify", "a TPM2_Certify's answer", attestOf(item, edit(attest, 4, 2, 0x80, 0x17)))
	refuse("safe", "a truth value of 2", attestOf(item, edit(attest, clock+16, 1, 2)))
	refuse("no-bank", "a selection of no bank", attestOf(item, edit(attest, selection, 4+6+6, 0, 0, 0, 0)))
	refuse("five-banks", "a selection of five banks", attestOf(item, edit(attest, selection, 4, 0, 0, 0, 5)))
	refuse("banks-huge", "a selection of 2³²−1 banks", attestOf(item, edit(attest, selection, 4, 255, 255, 255, 255)))
	refuse("bank-twice", "SHA-256 twice", attestOf(item, edit(attest, selection+10, 2, 0, 0x0b)))
	refuse("bank-unknown", "a bank of SM3", attestOf(item, edit(attest, selection+10, 2, 0, 0x12)))
	refuse("no-register", "banks of which nothing is selected", attestOf(item, edit(edit(attest, selection+7, 3, 0, 0, 0), selection+13, 3, 0, 0, 0)))
	refuse("select-short", "a select of two bytes", attestOf(item, edit(attest, selection+6, 4, 2, 0x81, 0)))
	refuse("select-long", "a select of four bytes", attestOf(item, edit(attest, selection+6, 4, 4, 0x81, 0, 0, 0)))
	refuse("digest-none", "no PCR digest", attestOf(item, edit(attest, len(attest)-34, 34, 0, 0)))
	refuse("scheme", "an HMAC for a signature", edit(item, end, 2, 0, 5))
	refuse("sha1", "a signature over SHA-1", edit(item, end+2, 2, 0, 4))
	refuse("scalar-long", "an r of 49 bytes", edit(item, end+4, 2+int(item[end+5]), append([]byte{0, 49}, make([]byte, 49)...)...))
	m.add("quote-bank-off", "quote", "a bank that the TPM has switched off", "ok", attestOf(item, edit(attest, selection+13, 3, 0, 0, 0)))
}

// rsaPublic returns the TPMT_PUBLIC of an AK with an RSA-2048 modulus of which nobody knows the
// factors.
func rsaPublic(t testing.TB) []byte {
	t.Helper()
	n := new(big.Int).SetBytes(bytes.Repeat([]byte{0xc7}, 256))
	b, err := tpm.AKPublic(&rsa.PublicKey{N: n, E: 65537}, make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (m maker) publics() {
	ecc, rsa := builtPublic(m.t).Marshal(), rsaPublic(m.t)
	// Offsets: type 0, nameAlg 2, attributes 4, authPolicy 8 (2 + 0 or 32), symmetric 10 or 42,
	// scheme 12 or 44, then ECC: curve 16, kdf 18, x 20 (2+32); RSA: keyBits 48, exponent 50,
	// modulus 54 (2+256).
	m.add("public-ecc", "public", "an AK on P-256", "ok", ecc)
	m.add("public-rsa", "public", "an AK of RSA-2048 with a policy", "ok", rsa)
	m.add("public-exponent", "public", "the exponent written out", "ok", edit(rsa, 50, 4, 0, 1, 0, 1))
	m.add("public-no-scheme", "public", "a key without a scheme", "ok", edit(ecc, 12, 4, 0, 0x10))
	m.add("public-parent", "public", "a key that encrypts its children with AES-128 in CFB", "ok", edit(ecc, 10, 2, 0, 6, 0, 128, 0, 0x43))
	refuse := func(name, desc string, b []byte) { m.add("public-"+name, "public", desc, "refused", b) }
	refuse("padded", "a byte after the key", append(bytes.Clone(ecc), 0))
	refuse("empty", "nothing", nil)
	refuse("type", "a keyed hash", edit(ecc, 0, 2, 0, 8))
	refuse("name-sha1", "names by SHA-1", edit(ecc, 2, 2, 0, 4))
	refuse("name-none", "a key without a name", edit(ecc, 2, 2, 0, 0x10))
	refuse("reserved", "a reserved attribute", edit(ecc, 4, 1, 0x80))
	refuse("policy-short", "a policy of one byte", edit(ecc, 8, 2, 0, 1, 7))
	refuse("policy-long", "a policy of 65 bytes", edit(ecc, 8, 2, append([]byte{0, 65}, make([]byte, 65)...)...))
	refuse("symmetric", "a symmetric algorithm of another form", edit(ecc, 10, 2, 0, 0x0a))
	refuse("scheme-of-rsa", "RSASSA on a curve", edit(ecc, 12, 2, 0, 0x14))
	refuse("scheme-of-ecc", "ECDSA with RSA", edit(rsa, 44, 2, 0, 0x18))
	refuse("scheme-hash", "a scheme with SM3", edit(ecc, 14, 2, 0, 0x12))
	refuse("curve", "P-521", edit(ecc, 16, 2, 0, 5))
	refuse("kdf", "a key derivation scheme", edit(ecc, 18, 2, 0, 7))
	refuse("off-curve", "a point that is not on the curve", edit(ecc, 22, 1, ecc[22]^1))
	refuse("infinity", "the point at infinity", edit(ecc, 20, 68, 0, 0, 0, 0))
	refuse("point-short", "an x of 31 bytes", edit(ecc, 20, 3, 0, 31))
	refuse("bits-odd", "2,049 bits in 256 bytes", edit(rsa, 48, 2, 8, 1))
	refuse("exponent-3", "the exponent 3", edit(rsa, 50, 4, 0, 0, 0, 3))
	refuse("modulus-short", "RSA-1024", edit(edit(rsa, 54, 2+256, append([]byte{0, 128}, bytes.Repeat([]byte{0xc7}, 128)...)...), 48, 2, 4, 0))
	refuse("modulus-padded", "a modulus that starts with zero", edit(rsa, 56, 1, 0))
	refuse("modulus-even", "an even modulus", edit(rsa, len(rsa)-1, 1, 2))
}

var hclJSON = `{"keys":[{"kid":"HCLAkPub","key_ops":["sign"],"kty":"RSA","e":"AQAB","n":"` + modulus + `"},` +
	`{"kid":"HCLEkPub","key_ops":["encrypt"],"kty":"RSA","e":"AQAB","n":"` + modulus + `"}],` +
	`"vm-configuration":{"secure-boot":true,"tpm-persisted":false,"vmUniqueId":"x"},"user-data":"` + userData + `"}`

// modulus is of 256 bytes, userData of 64.
var (
	modulus  = strings.Repeat("q", 341) + "w"
	userData = strings.Repeat("0a", 64)
)

// builtHCL returns an HCL report of a TDX machine around JSON.
func builtHCL(json string) []byte {
	b := make([]byte, 1236)
	copy(b, "HCLA")
	for i, v := range []int{20 + len(json), 1, 4, 1, len(json)} {
		binary.LittleEndian.PutUint32(b[1216+4*i:], uint32(v))
	}
	return append(b, json...)
}

func (m maker) reports() {
	report := builtHCL(hclJSON)
	m.add("hcl", "hcl-report", "a report", "ok", report)
	m.add("hcl-no-user-data", "hcl-report", "no user data", "ok", builtHCL(strings.Replace(hclJSON, userData, "", 1)))
	m.add("hcl-other-key", "hcl-report", "a key of another kind and name", "ok", builtHCL(strings.Replace(hclJSON, `"HCLEkPub","key_ops":["encrypt"],"kty":"RSA"`, `"Other","kty":"EC"`, 1)))
	m.add("hcl-case", "hcl-report", "members whose names differ in case are others", "ok", builtHCL(strings.Replace(hclJSON, `{"keys":`, `{"Keys":[],"KEYS":1,"keys":`, 1)))
	refuse := func(name, desc string, b []byte) { m.add("hcl-"+name, "hcl-report", desc, "refused", b) }
	replaced := func(name, desc, old, with string) {
		json := strings.Replace(hclJSON, old, with, 1)
		if json == hclJSON {
			m.t.Errorf("%s: %q is not there", name, old)
		}
		refuse(name, desc, builtHCL(json))
	}
	refuse("padded", "zeros after the JSON", append(bytes.Clone(report), 0, 0))
	refuse("cut", "the JSON's end is missing", report[:len(report)-1])
	refuse("short", "no JSON length", report[:1235])
	refuse("magic", "another magic", edit(report, 0, 1, 'h'))
	refuse("type", "a report of type 3", edit(report, 1224, 1, 3))
	refuse("hash", "a JSON hashed with another algorithm", edit(report, 1228, 1, 2))
	refuse("json-huge", "a JSON of 2³²−1 bytes", edit(report, 1232, 4, 255, 255, 255, 255))
	refuse("json-long", "a JSON of over 32 KiB", builtHCL(hclJSON+strings.Repeat(" ", 1<<15)))
	replaced("no-ak", "no AK", "HCLAkPub", "HCLXxPub")
	replaced("two-aks", "two AKs", "HCLEkPub", "HCLAkPub")
	replaced("keys-case", "keys under another name", `"keys"`, `"Keys"`)
	replaced("kid-case", "a key whose kid is under another name", `"kid":"HCLAkPub"`, `"KID":"HCLAkPub"`)
	replaced("kty", "an elliptic curve's key", `"kty":"RSA"`, `"kty":"EC"`)
	replaced("exponent", "the exponent 3", `"AQAB"`, `"Aw"`)
	replaced("modulus-bits", "a modulus whose last bits are not zero", "qw", "qx")
	replaced("modulus-short", "a modulus of 255 bytes", modulus, modulus[:340])
	replaced("modulus-padded", "a modulus that starts with zero", `"n":"qq`, `"n":"AA`)
	replaced("duplicate", "a member twice", `{"keys"`, `{"user-data":"","keys"`)
	replaced("duplicate-escaped", "a member twice, once with an escape", `"kty":"RSA"`, `"kty":"RSA","k\u0074y":"RSA"`)
	replaced("user-data-short", "user data of 63 bytes", userData, userData[2:])
	replaced("user-data-hex", "user data that is not hexadecimal", `"0a`, `"0g`)
	replaced("user-data-type", "user data that is a number", `"`+userData+`"`, `7`)
	replaced("not-utf8", "JSON that is not UTF-8", `"x"`, "\"\xff\"")
	refuse("not-object", "a list", builtHCL(`[]`))
	refuse("two-values", "an object after the object", builtHCL(hclJSON+`{}`))
	refuse("deep", "JSON of 17 levels", builtHCL(strings.Replace(hclJSON, `"x"`, `"x","y":`+strings.Repeat("[", 15)+strings.Repeat("]", 15), 1)))
	refuse("very-deep", "JSON of 16,000 levels", builtHCL(strings.Repeat("[", 16000)))
}

// builtInstance returns an instance extension, as short as one may be.
func builtInstance(t testing.TB) []byte {
	t.Helper()
	g := tpm.GCEInstance{Zone: "us-central1-a", ProjectNumber: 1, ProjectID: "p", InstanceID: 2, InstanceName: "i", Production: true}
	der, err := g.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func (m maker) instances() {
	der := builtInstance(m.t)
	// Offsets: sequence 0, zone 2 (2+13), project number 17 (3), project id 20 (3), instance id 23
	// (3), name 26 (3), [0] 29 and sequence 31 with [0] security version 33 (5) and [1] production
	// 38 (5).
	security := func(more ...byte) []byte {
		b := append(bytes.Clone(der), more...)
		for _, at := range []int{1, 30, 32} {
			b[at] += byte(len(more))
		}
		return b
	}
	zone := func(s string) []byte {
		b := edit(der, 2, 15, append([]byte{0x0c, byte(len(s))}, s...)...)
		b[1] = byte(len(b) - 2)
		return b
	}
	m.add("instance", "gce-instance", "an instance", "ok", der)
	m.add("instance-more", "gce-instance", "further properties", "ok", security(0xa2, 3, 1, 1, 0, 0xa5, 3, 1, 1, 0xff))
	m.add("instance-path", "gce-instance", "a zone with a path", "ok", zone("projects/1/zones/us-central1-a"))
	m.add("instance-ai", "gce-instance", "a zone whose letter is a word", "ok", zone("us-south1-ai1b"))
	refuse := func(name, desc string, b []byte) { m.add("instance-"+name, "gce-instance", desc, "refused", b) }
	refuse("empty", "nothing", nil)
	refuse("padded", "a byte after the sequence", append(bytes.Clone(der), 0))
	refuse("long-form", "a length in the long form", edit(der, 1, 1, 0x81, der[1]))
	refuse("indefinite", "an indefinite length (BER)", append(edit(der, 1, 1, 0x80), 0, 0))
	refuse("zone-none", "no zone", zone(""))
	refuse("zone-region", "a region for a zone", zone("us"))
	refuse("zone-case", "a zone in upper case", zone("US-CENTRAL1-A"))
	refuse("zone-empty-label", "a zone with an empty label", zone("us--a"))
	refuse("zone-quote", "a zone that ends JSON's string", zone(`us-a","zone":"b-a`))
	refuse("zone-type", "a zone in another type of string", edit(der, 2, 1, 0x13))
	refuse("project-zero", "the project 0", edit(der, 19, 1, 0))
	refuse("project-negative", "a negative project", edit(der, 19, 1, 0x80))
	refuse("instance-zero", "the instance 0", edit(der, 25, 1, 0))
	refuse("name-utf8", "a name that is not UTF-8", edit(der, 28, 1, 0xff))
	refuse("not-boolean", "a production flag of 1", edit(der, 42, 1, 1))
	refuse("no-production", "no production flag", edit(edit(edit(edit(der, 38, 5), 32, 1, 5), 30, 1, 7), 1, 1, 36))
	refuse("disorder", "properties out of order", security(0xa3, 3, 1, 1, 0, 0xa2, 3, 1, 1, 0))
	refuse("twice", "a property twice", security(0xa2, 3, 1, 1, 0, 0xa2, 3, 1, 1, 0))
}
