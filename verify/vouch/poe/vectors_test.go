package poe_test

import (
	"bytes"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/poclog/poclog/internal/lab/endorser"
)

// parts are an endorsement's, so that one can be changed before all is encoded and signed.
type parts struct {
	protected, corim, comid, triples, condition, endorsed, piidMap, ownerMap map[any]any
	record                                                                   []any
	tags                                                                     func(comid []byte) []any
}

func encode(t *testing.T, v any) []byte {
	t.Helper()
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		t.Fatal(err)
	}
	b, err := mode.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const (
	platformOID = "6086480186f84d010d020601"
	ownerOID    = "6086480186f84d010d020c01"
)

func environment(t *testing.T, oid string) map[any]any {
	return map[any]any{0: map[any]any{0: cbor.Tag{Number: 111, Content: unhex(t, oid)}}}
}

func instant(at time.Time) cbor.Tag { return cbor.Tag{Number: 1, Content: at.Unix()} }

func newParts(t *testing.T) *parts {
	p := &parts{
		protected: map[any]any{1: -51, 3: "application/rim+cbor", 15: map[any]any{1: "owner.test"}},
		piidMap:   map[any]any{-101: piid}, ownerMap: map[any]any{-401: "owner.test"},
		corim: map[any]any{
			0: make([]byte, 16), 3: cbor.Tag{Number: 32, Content: "tag:intel.com,2026:tee.poe#1.0"},
			4: map[any]any{0: instant(at.AddDate(0, -1, 0)), 1: instant(at.AddDate(1, 0, 0))},
		},
		comid: map[any]any{1: map[any]any{0: make([]byte, 16)}},
		tags:  func(comid []byte) []any { return []any{cbor.Tag{Number: 506, Content: comid}} },
	}
	p.condition = map[any]any{0: "tee.poe.platform-binding", 1: p.piidMap}
	p.endorsed = map[any]any{0: "tee.poe.ownership-claims", 1: p.ownerMap}
	p.record = []any{
		[]any{[]any{environment(t, platformOID), []any{p.condition}}},
		[]any{[]any{environment(t, ownerOID), []any{p.endorsed}}},
	}
	p.triples = map[any]any{10: []any{p.record}}
	p.comid[4] = p.triples
	return p
}

func (p *parts) sign(t *testing.T) []byte {
	p.corim[1] = p.tags(encode(t, p.comid))
	return owner.Sign(encode(t, p.protected), encode(t, cbor.Tag{Number: 501, Content: p.corim}), false).Body
}

func makeVectors(t *testing.T) map[string]vector {
	all := make(map[string]vector)
	add := func(name, desc, expect string, body []byte) {
		t.Helper()
		v := vector{Desc: desc, Input: hex.EncodeToString(body), Root: owner.Policy().SHA256.String(), At: at.Format(time.RFC3339), Expect: expect}
		if err := v.read(); (err == nil) != (expect == "ok") {
			t.Errorf("%s: %v: want %s", name, err, expect)
		}
		all[name] = v
	}
	built := func(name, desc, expect string, edit func(p *parts)) {
		t.Helper()
		p := newParts(t)
		edit(p)
		add(name, desc, expect, p.sign(t))
	}
	accepted(t, built)
	refusedEnvelopes(built)
	refusedPayloads(t, built)
	add("longest", "16 KiB", "ok", ofSize(t, 1<<14))
	add("longer", "a byte over 16 KiB", "refused", ofSize(t, 1<<14+1))
	add("endorsement", "as a generator makes it", "ok", owner.Endorse(statement()).Body)
	refusedForms(t, add)
	return all
}

// ofSize is an endorsement of so many bytes, by a name that the profile bids to ignore.
func ofSize(t *testing.T, size int) []byte {
	t.Helper()
	for n := size - 3000; n < size; n++ {
		p := newParts(t)
		p.comid[1] = map[any]any{0: strings.Repeat("x", n)}
		body := p.sign(t)
		if len(body) == size {
			return body
		}
		if left := size - len(body); left > 20 {
			n += left - 20
		}
	}
	t.Fatalf("no endorsement of %d bytes", size)
	return nil
}

type building func(name, desc, expect string, edit func(p *parts))

func accepted(t *testing.T, built building) {
	built("es384", "the older code point of the algorithm", "ok", func(p *parts) { p.protected[1] = -35 })
	built("minor", "a later minor version of the profile", "ok", func(p *parts) { p.corim[3] = cbor.Tag{Number: 32, Content: "tag:intel.com,2026:tee.poe#1.17"} })
	built("profile-text", "the profile as a text", "ok", func(p *parts) { p.corim[3] = "tag:intel.com,2026:tee.poe#1.0" })
	built("extra", "what the profile bids to ignore: locators, entities, a refresh URI, a tag's version", "ok", func(p *parts) {
		p.corim[2], p.corim[5], p.corim[99] = []any{map[any]any{0: cbor.Tag{Number: 32, Content: "https://example.test/"}}}, []any{map[any]any{0: "x", 2: []any{1}}}, true
		p.protected["tee.refresh-uri"] = cbor.Tag{Number: 32, Content: "https://example.test/"}
		p.comid[1] = map[any]any{0: "a name", 1: 7}
	})
	built("profile-text-32", "the profile as a text of as many bytes as the tag of a URI has", "ok", func(p *parts) { p.corim[3] = "tag:intel.com,2026:tee.poe#1.000" })
	built("validity-epoch", "from the first second of 1970 to the last of 9999", "ok", func(p *parts) {
		p.corim[4] = map[any]any{0: instant(time.Unix(0, 0)), 1: instant(time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC))}
	})
	built("no-mkey", "measurements without names", "ok", func(p *parts) { delete(p.condition, 0); delete(p.endorsed, 0) })
	built("piid-32", "a platform instance id of 32 octets", "ok", func(p *parts) { p.piidMap[-101] = bytes.Repeat([]byte{7}, 32) })
}

func refusedEnvelopes(built building) {
	built("alg-es256", "another algorithm", "refused", func(p *parts) { p.protected[1] = -7 })
	built("alg-missing", "no algorithm", "refused", func(p *parts) { delete(p.protected, 1) })
	built("alg-text", "an algorithm's name", "refused", func(p *parts) { p.protected[1] = "ES384" })
	built("crit", "a critical header", "refused", func(p *parts) { p.protected[2] = []any{"x"} })
	built("content-type", "another content type", "refused", func(p *parts) { p.protected[3] = "application/cbor" })
	built("cwt-missing", "no CWT claims", "refused", func(p *parts) { delete(p.protected, 15) })
	built("cwt-anonymous", "CWT claims without an issuer", "refused", func(p *parts) { p.protected[15] = map[any]any{2: "x"} })
	built("cwt-empty", "an issuer without a name", "refused", func(p *parts) { p.protected[15] = map[any]any{1: ""} })
	built("cwt-exp", "an expiry in the CWT claims", "refused", func(p *parts) { p.protected[15] = map[any]any{1: "x", 4: 1} })
	built("cwt-nbf", "a start in the CWT claims", "refused", func(p *parts) { p.protected[15] = map[any]any{1: "x", 5: 1} })
}

func refusedPayloads(t *testing.T, built building) {
	built("profile-missing", "no profile", "refused", func(p *parts) { delete(p.corim, 3) })
	built("profile-major", "another major version", "refused", func(p *parts) { p.corim[3] = cbor.Tag{Number: 32, Content: "tag:intel.com,2026:tee.poe#2.0"} })
	built("profile-no-minor", "no minor version", "refused", func(p *parts) { p.corim[3] = cbor.Tag{Number: 32, Content: "tag:intel.com,2026:tee.poe#1."} })
	built("profile-letter", "a minor version that is no number", "refused", func(p *parts) { p.corim[3] = "tag:intel.com,2026:tee.poe#1.0a" })
	built("profile-digits", "digits for a profile", "refused", func(p *parts) { p.corim[3] = "17" })
	built("validity-before-epoch", "a beginning before 1970", "refused", func(p *parts) {
		p.corim[4] = map[any]any{0: instant(time.Unix(-1, 0)), 1: instant(at.AddDate(1, 0, 0))}
	})
	built("profile-oid", "a profile by an object identifier", "refused", func(p *parts) { p.corim[3] = cbor.Tag{Number: 111, Content: []byte{0x2a, 3}} })
	built("validity-missing", "no validity", "refused", func(p *parts) { delete(p.corim, 4) })
	built("validity-open", "no end", "refused", func(p *parts) { p.corim[4] = map[any]any{0: instant(at)} })
	built("validity-untagged", "times that are numbers", "refused", func(p *parts) { p.corim[4] = map[any]any{0: at.Unix(), 1: at.Unix()} })
	built("validity-float", "a time of a fraction of a second", "refused", func(p *parts) {
		p.corim[4] = map[any]any{0: instant(start), 1: cbor.Tag{Number: 1, Content: float64(at.Unix()) + 0.5}}
	})
	built("validity-reversed", "an end before the beginning", "refused", func(p *parts) { p.corim[4] = map[any]any{0: instant(at), 1: instant(start)} })
	built("validity-far", "an end after the year 9999", "refused", func(p *parts) {
		p.corim[4] = map[any]any{0: instant(start), 1: cbor.Tag{Number: 1, Content: uint64(1) << 62}}
	})
	built("expired", "it ended", "refused", func(p *parts) { p.corim[4] = map[any]any{0: instant(start), 1: instant(at.Add(-time.Second))} })
	built("future", "it has not begun", "refused", func(p *parts) {
		p.corim[4] = map[any]any{0: instant(at.Add(time.Second)), 1: instant(at.AddDate(1, 0, 0))}
	})
	built("tags-none", "no CoMID", "refused", func(p *parts) { p.tags = func([]byte) []any { return nil } })
	built("tags-two", "two CoMIDs", "refused", func(p *parts) {
		p.tags = func(c []byte) []any {
			return []any{cbor.Tag{Number: 506, Content: c}, cbor.Tag{Number: 506, Content: c}}
		}
	})
	built("tags-coswid", "another tag", "refused", func(p *parts) {
		p.tags = func(c []byte) []any { return []any{cbor.Tag{Number: 505, Content: c}} }
	})
	built("records-none", "no endorsement", "refused", func(p *parts) { p.triples[10] = []any{} })
	built("records-two", "two endorsements", "refused", func(p *parts) { p.triples[10] = []any{p.record, p.record} })
	built("record-long", "a record with a third part", "refused", func(p *parts) { p.triples[10] = []any{append(p.record, []any{})} })
	built("conditions-none", "an endorsement of every platform", "refused", func(p *parts) { p.record[0] = []any{} })
	built("conditions-two", "two conditions", "refused", func(p *parts) {
		one := p.record[0].([]any)[0]
		p.record[0] = []any{one, one}
	})
	built("condition-other", "a condition on another value", "refused", func(p *parts) { delete(p.piidMap, -101); p.piidMap[-102] = piid })
	built("condition-more", "a condition that also wants another value", "refused", func(p *parts) { p.piidMap[-102] = "x" })
	built("condition-instance", "a condition on an instance", "refused", func(p *parts) {
		env := environment(t, platformOID)
		env[1] = cbor.Tag{Number: 560, Content: []byte("x")}
		p.record[0] = []any{[]any{env, []any{p.condition}}}
	})
	built("condition-vendor", "a condition on a vendor", "refused", func(p *parts) {
		p.record[0] = []any{[]any{map[any]any{0: map[any]any{0: cbor.Tag{Number: 111, Content: unhex(t, platformOID)}, 1: "x"}}, []any{p.condition}}}
	})
	built("condition-class", "a condition on another class", "refused", func(p *parts) {
		p.record[0] = []any{[]any{environment(t, ownerOID), []any{p.condition}}}
	})
	built("condition-authorized", "a condition with keys of its own", "refused", func(p *parts) { p.condition[2] = []any{} })
	built("condition-measurements", "two measurements", "refused", func(p *parts) {
		p.record[0] = []any{[]any{environment(t, platformOID), []any{p.condition, p.condition}}}
	})
	built("piid-15", "a platform instance id of 15 octets", "refused", func(p *parts) { p.piidMap[-101] = piid[:15] })
	built("piid-text", "a platform instance id in text", "refused", func(p *parts) { p.piidMap[-101] = string(piid) })
	built("piid-list", "a platform instance id as a list of numbers", "refused", func(p *parts) { p.piidMap[-101] = slicesOf(piid) })
	built("owner-class", "another class of endorsement", "refused", func(p *parts) {
		p.record[1] = []any{[]any{environment(t, platformOID), []any{p.endorsed}}}
	})
	built("owner-more", "an owner and something else", "refused", func(p *parts) { p.ownerMap[-402] = "x" })
	built("owner-authorized", "an endorsement with keys of its own", "refused", func(p *parts) { p.endorsed[2] = []any{} })
	built("owner-empty", "an empty name", "refused", func(p *parts) { p.ownerMap[-401] = "" })
	built("owner-long", "a name of 256 bytes", "refused", func(p *parts) { p.ownerMap[-401] = strings.Repeat("a", 256) })
	built("owner-unicode", "a name that an entry cannot hold", "refused", func(p *parts) { p.ownerMap[-401] = "öwner.test" })
	built("piid-tagged", "a tag on the platform instance id", "refused", func(p *parts) { p.piidMap[-101] = cbor.Tag{Number: 560, Content: piid} })
	built("owner-tagged", "a tag on the name", "refused", func(p *parts) { p.ownerMap[-401] = cbor.Tag{Number: 32, Content: "owner.test"} })
	built("record-tagged", "a tag on the record", "refused", func(p *parts) { p.triples[10] = []any{cbor.Tag{Number: 11, Content: p.record}} })
	built("owner-octets", "a name in octets", "refused", func(p *parts) { p.ownerMap[-401] = []byte("owner.test") })
}

func slicesOf(b []byte) []any {
	var out []any
	for _, c := range b {
		out = append(out, int(c))
	}
	return out
}

// refusedForms are endorsements whose signed part is good, in another form.
func refusedForms(t *testing.T, add func(name, desc, expect string, body []byte)) {
	body := owner.Endorse(statement()).Body
	replaced := func(old, new []byte) []byte {
		t.Helper()
		if bytes.Count(body, old) != 1 {
			t.Fatalf("%x is there %d times", old, bytes.Count(body, old))
		}
		return bytes.Replace(body, old, new, 1)
	}
	var parts struct {
		_           struct{} `cbor:",toarray"`
		Protected   []byte
		Unprotected map[int]any
		Payload     []byte
		Signature   []byte
	}
	if err := cbor.Unmarshal(body, &cbor.RawTag{}); err != nil {
		t.Fatal(err)
	}
	if err := cbor.Unmarshal(body[1:], &parts); err != nil {
		t.Fatal(err)
	}
	again := func(edit func()) []byte {
		saved := parts
		parts.Unprotected = map[int]any{33: saved.Unprotected[33]}
		edit()
		b := encode(t, cbor.Tag{Number: 18, Content: []any{parts.Protected, parts.Unprotected, parts.Payload, parts.Signature}})
		parts = saved
		return b
	}
	add("kid-unprotected", "a key id that nobody signed: no more than a hint", "ok", again(func() { parts.Unprotected[4] = make([]byte, 48) }))
	add("unprotected-more", "another header that nobody signed", "refused", again(func() { parts.Unprotected[99] = 1 }))
	add("chain-missing", "no certificates", "refused", again(func() { delete(parts.Unprotected, 33) }))
	add("chain-of-one", "an array of one certificate", "refused", again(func() { parts.Unprotected[33] = parts.Unprotected[33].([]any)[:1] }))
	add("chain-leaf", "the signer's certificate alone", "refused", again(func() { parts.Unprotected[33] = parts.Unprotected[33].([]any)[0] }))
	add("chain-reversed", "the root first", "refused", again(func() {
		c := parts.Unprotected[33].([]any)
		parts.Unprotected[33] = []any{c[1], c[0]}
	}))
	add("signature-short", "a signature of 95 octets", "refused", again(func() { parts.Signature = parts.Signature[1:] }))
	add("detached", "no payload", "refused", again(func() { parts.Payload = nil }))
	add("untagged", "COSE_Sign1 without its tag", "refused", body[1:])
	add("tag-98", "COSE_Sign", "refused", append([]byte{0xd8, 98}, body[1:]...))
	add("array-5", "an array of five", "refused", append(append([]byte{body[0], 0x85}, body[2:]...), 0xf6))
	add("indefinite", "an array without a length", "refused", append(append([]byte{body[0], 0x9f}, body[2:]...), 0xff))
	add("long-head", "a length that is longer than it need be", "refused", append([]byte{body[0], 0x98, 4}, body[2:]...))
	add("trailing", "a byte after the end", "refused", append(bytes.Clone(body), 0))
	add("truncated", "a byte less", "refused", body[:len(body)-1])
	add("empty", "nothing", "refused", nil)
	add("null", "null", "refused", []byte{0xf6})
	add("deep", "arrays in arrays", "refused", bytes.Repeat([]byte{0x81}, 10000))
	add("huge-array", "an array of 2^60 items", "refused", []byte{0xd2, 0x9b, 0x10, 0, 0, 0, 0, 0, 0, 0})
	add("huge-string", "a string of 2^63 bytes", "refused", []byte{0xd2, 0x5b, 0x80, 0, 0, 0, 0, 0, 0, 0})
	add("long", "over 16 KiB", "refused", append(bytes.Clone(body), make([]byte, 1<<14)...))
	add("tagged-header", "a tag on the header that nobody signed", "refused", replaced(slices.Concat(parts.Protected, []byte{0xa1, 0x18, 0x21}), slices.Concat(parts.Protected, []byte{0xcb, 0xa1, 0x18, 0x21})))
	add("tagged-signature", "a tag on the signature", "refused", bytes.Join([][]byte{body[:len(body)-98], {0xcb}, body[len(body)-98:]}, nil))
	add("payload-forged", "another owner under the signature", "refused", replaced([]byte("owner.test\x03"), []byte("0wner.test\x03")))
	add("map-unsorted", "a map out of order", "refused", owner.Sign(unhex(t, "a2"+"0f"+"a1016178"+"01"+"3832"), endorser.Payload(statement()), false).Body)
	add("map-twice", "two algorithms", "refused", owner.Sign(append(unhex(t, "a4"+"01"+"3832"+"01"+"3832"+"03"), append(append([]byte{0x74}, "application/rim+cbor"...), unhex(t, "0fa1016178")...)...), endorser.Payload(statement()), false).Body)
}
