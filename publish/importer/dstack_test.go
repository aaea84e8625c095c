package importer_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/attack"
	"github.com/poclog/poclog/publish/importer"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/profile"
	"github.com/poclog/poclog/verify/tpm"
)

// pack writes MessagePack as dstack's serializer does: octets of quotes as lists of numbers, those
// of TPM quotes as octets. Maps are lists of pairs, so that they have an order.
func pack(v any) []byte {
	u16 := func(tag byte, n int) []byte { return binary.BigEndian.AppendUint16([]byte{tag}, uint16(n)) }
	switch v := v.(type) {
	case nil:
		return []byte{0xc0}
	case bool:
		return []byte{map[bool]byte{false: 0xc2, true: 0xc3}[v]}
	case int:
		if v < 128 {
			return []byte{byte(v)}
		}
		if v < 256 {
			return []byte{0xcc, byte(v)}
		}
		return binary.BigEndian.AppendUint32([]byte{0xce}, uint32(v))
	case string:
		return append([]byte{0xd9, byte(len(v))}, v...)
	case []byte:
		return append(u16(0xc5, len(v)), v...)
	case [][2]any:
		out := []byte{0x80 | byte(len(v))}
		for _, m := range v {
			out = append(append(out, pack(m[0])...), pack(m[1])...)
		}
		return out
	case []any:
		out := u16(0xdc, len(v))
		for _, e := range v {
			out = append(out, pack(e)...)
		}
		return out
	}
	panic(fmt.Sprintf("%T", v))
}

func numbers(b []byte) (list []any) {
	for _, c := range b {
		list = append(list, int(c))
	}
	return list
}

// A dstackVM is what dstack gives on a VM of the laboratory.
type dstackVM struct {
	quote, message, signature, cert []byte
	pcrs                            [][2]any // index, value
	chain                           []byte   // PEM of intermediate and root
}

var dstackPCRs = []int{0, 2, 14}

func newDstackVM(t testing.TB, w *attack.World, padding int) *dstackVM {
	t.Helper()
	v := w.VM.TPM
	d := &dstackVM{quote: append(w.VM.Platform().Quote(w.VM.TD(w.Challenge.ReportData(v.Public))), make([]byte, padding)...)}
	sum := sha256.Sum256(d.quote)
	item, values, err := v.QuoteOf(sum[:], attack.Now, []tpm.PCRSelection{{Alg: tpm.SHA256, PCRs: dstackPCRs}})
	if err != nil {
		t.Fatal(err)
	}
	n := 2 + int(binary.BigEndian.Uint16(item))
	d.message, d.signature = item[2:n], item[n:]
	for i, pcr := range dstackPCRs {
		d.pcrs = append(d.pcrs, [2]any{pcr, values[32*i:][:32]})
	}
	certs, err := tpm.ParseChain(v.Chain)
	if err != nil {
		t.Fatal(err)
	}
	d.cert, d.chain = certs[0].Raw, pemOf(certs[1].Raw, certs[2].Raw)
	return d
}

func asJSON(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// getQuote is the answer to GetQuote.
func (d *dstackVM) getQuote(t testing.TB) []byte {
	return asJSON(t, map[string]any{
		"quote": hex.EncodeToString(d.quote), "event_log": `[{"imr":0}]`, "vm_config": "{}", "report_data": hex.EncodeToString(d.quote[48+520:][:64]),
	})
}

// tpmQuote is what dstack-util tpm-quote prints.
func (d *dstackVM) tpmQuote(t testing.TB) []byte {
	var pcrs []any
	for _, p := range d.pcrs {
		pcrs = append(pcrs, map[string]any{"index": p[0], "algorithm": "sha256", "value": hex.EncodeToString(p[1].([]byte))})
	}
	return asJSON(t, map[string]any{
		"message": hex.EncodeToString(d.message), "signature": hex.EncodeToString(d.signature), "pcr_values": pcrs,
		"ak_cert": hex.EncodeToString(d.cert), "platform": "gcp", "event_log": []any{map[string]any{"pcr_index": 0}},
	})
}

// attestation is what Attest answers, of a kind.
func (d *dstackVM) attestation(version int, kind string) []byte {
	var pcrs []any
	for _, p := range d.pcrs {
		pcrs = append(pcrs, [][2]any{{"index", p[0]}, {"algorithm", "sha256"}, {"value", p[1]}})
	}
	event := [][2]any{{"imr", 0}, {"event_type", 0x8000000b}, {"digest", make([]byte, 48)}, {"event", ""}, {"event_payload", []byte{1}}}
	data := [][2]any{{"quote", numbers(d.quote)}, {"event_log", []any{event}}}
	if kind == "gcp-tdx" {
		data = append(data, [2]any{"tpm_quote", [][2]any{
			{"message", d.message}, {"signature", d.signature}, {"pcr_values", pcrs}, {"ak_cert", d.cert}, {"platform", "gcp"}, {"event_log", []any{}},
		}})
	}
	return pack([][2]any{
		{"version", version},
		{"platform", [][2]any{{"kind", kind}, {"data", data}}},
		{"stack", [][2]any{{"kind", "dstack"}, {"data", [][2]any{{"report_data", numbers(make([]byte, 64))}, {"runtime_events", []any{}}, {"config", "{}"}, {"x", nil}, {"y", true}}}}},
	})
}

func TestDstackImportsInEveryForm(t *testing.T) {
	w := attack.NewWorld()
	d := newDstackVM(t, w, 0)
	v1 := d.attestation(1, "gcp-tdx")
	challenge, err := w.Challenge.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for form, files := range map[string][][]byte{
		"GetQuote and dstack-util tpm-quote": {d.getQuote(t), d.tpmQuote(t), d.chain},
		"Attest":                             {d.chain, asJSON(t, map[string]string{"attestation": hex.EncodeToString(v1)})},
		"an attestation's octets":            {v1, d.chain},
	} {
		im, err := importer.Dstack(files...)
		if err != nil {
			t.Fatalf("%s: %v", form, err)
		}
		if !bytes.Equal(im.Bundle.Get(poclog.ItemTDXQuote), d.quote) || !bytes.Equal(im.Bundle.Get(poclog.ItemTPMAKChain), w.VM.TPM.Chain) {
			t.Errorf("%s: quote or chain is another: %v", form, im.Bundle.Items())
		}
		have, level := states(t, im)
		for _, c := range []verify.Check{verify.TPMSignature, verify.TPMAKChain, verify.BindTEEInTPM, verify.PlaceCert} {
			if have[c].State != profile.Carried {
				t.Errorf("%s: %+v", form, have[c])
			}
		}
		for _, c := range []verify.Check{verify.TPMPCRDigest, verify.TPMAKTemplate, verify.BindAKInTEE, verify.BindPCRRTMR, verify.TPMTechnology, verify.FreshChallenge} {
			if have[c].State != profile.Lost {
				t.Errorf("%s: %+v", form, have[c])
			}
		}
		if level != poclog.LevelChip || !strings.Contains(strings.Join(im.Notes, "\n"), "PCR 14") {
			t.Errorf("%s: level %d, notes %v", form, level, im.Notes)
		}
		// As the recipe says: the AK's public part and the challenge make the rest that can be
		// made, and a judge agrees.
		if err := im.Add(importer.Extras{AK: w.VM.TPM.Public, Challenge: challenge}); err != nil {
			t.Fatal(err)
		}
		have, _ = states(t, im)
		for _, c := range []verify.Check{verify.TPMAKTemplate, verify.BindAKInTEE, verify.FreshChallenge} {
			if have[c].State != profile.Carried {
				t.Errorf("%s: with AK and challenge: %+v", form, have[c])
			}
		}
		w.Policy.Admit = []poclog.Admission{{Profile: poclog.GCETDXvTPM, Level: poclog.LevelChip}}
		a := appraise(t, w, im.Bundle)
		if !slices.Equal(a.Entry.Absent, []string{"tpm.pcr-digest", "tpm.technology", "bind.pcr-rtmr"}) {
			t.Errorf("%s: absent %v", form, a.Entry.Absent)
		}
	}
}

func TestDstackQuotesWithoutATPMShowNoPlace(t *testing.T) {
	d := newDstackVM(t, attack.NewWorld(), 0)
	for form, files := range map[string][][]byte{"GetQuote": {d.getQuote(t)}, "Attest": {d.attestation(1, "tdx"), d.chain}} {
		im, err := importer.Dstack(files...)
		if err != nil {
			t.Fatalf("%s: %v", form, err)
		}
		if _, level := states(t, im); level != poclog.LevelChip || im.Profile != poclog.TDX || !strings.Contains(im.Notes[len(im.Notes)-1]+im.Notes[0]+strings.Join(im.Notes, ""), "there is no TPM quote") {
			t.Errorf("%s: level %d, %v", form, level, im.Notes)
		}
	}
}

// Kernels pad quotes, and dstack has the TPM quote the padded octets, which a bundle does not hold.
func TestDstackPaddingLosesTheBinding(t *testing.T) {
	d := newDstackVM(t, attack.NewWorld(), 100)
	im, err := importer.Dstack(d.getQuote(t), d.tpmQuote(t), d.chain)
	if err != nil {
		t.Fatal(err)
	}
	if have, _ := states(t, im); have[verify.BindTEEInTPM].State != profile.Lost || !im.QuotesPadding() {
		t.Errorf("%+v", have[verify.BindTEEInTPM])
	}
}

func TestDstackRefusesWhatItCannotCarry(t *testing.T) {
	d := newDstackVM(t, attack.NewWorld(), 0)
	quote, tpmQuote := d.getQuote(t), d.tpmQuote(t)
	replaced := func(file []byte, old, with string) []byte {
		t.Helper()
		if !bytes.Contains(file, []byte(old)) {
			t.Fatalf("no %s", old)
		}
		return bytes.Replace(file, []byte(old), []byte(with), 1)
	}
	deep := bytes.Repeat([]byte{0x91}, 1000)
	for name, files := range map[string][][]byte{
		"nothing":                       {},
		"certificates alone":            {d.chain},
		"two TD quotes":                 {quote, quote},
		"two TPM quotes":                {quote, tpmQuote, tpmQuote},
		"a member twice":                {replaced(quote, `"vm_config"`, `"Quote":"00","vm_config"`)},
		"another report_data":           {replaced(quote, `"report_data":"`, `"report_data":"00`)},
		"quote and attestation":         {replaced(quote, `{`, `{"attestation":"81",`)},
		"neither":                       {[]byte(`{"app_id":"00"}`)},
		"no hexadecimal":                {replaced(quote, `"quote":"04`, `"quote":"zz`)},
		"trailing JSON":                 {append(bytes.Clone(quote), '{')},
		"a PCR that is not quoted":      {quote, replaced(tpmQuote, `"pcr_values":[`, `"pcr_values":[{"index":3,"algorithm":"sha256","value":"00"},`)},
		"a PCR that is missing":         {quote, replaced(tpmQuote, `"index":14`, `"index":15`)},
		"a PCR of another bank":         {quote, replaced(tpmQuote, `"sha256"`, `"sha384"`)},
		"a signature cut short":         {quote, replaced(tpmQuote, `"signature":"0018`, `"signature":"`)},
		"version 0":                     {append([]byte{0}, d.attestation(1, "tdx")...)},
		"version 2":                     {d.attestation(2, "tdx")},
		"another platform":              {d.attestation(1, "nitro-enclave")},
		"a TPM quote that is not there": {bytes.Replace(d.attestation(1, "tdx"), pack("tdx"), pack("gcp-tdx"), 1)},
		"octets after an attestation":   {append(d.attestation(1, "tdx"), 0xc0)},
		"an attestation cut short":      {d.attestation(1, "gcp-tdx")[:3000]},
		"an endless map":                {{0xdf, 0xff, 0xff, 0xff, 0xff}},
		"an endless list":               {{0xdd, 0xff, 0xff, 0xff, 0xff}},
		"endless octets":                {{0xc6, 0xff, 0xff, 0xff, 0xff}},
		"depths":                        {deep},
		"a negative number":             {{0xff}},
		"no octets":                     {{}},
		"too many octets":               {make([]byte, importer.MaxFile+1)},
	} {
		if im, err := importer.Dstack(files...); err == nil {
			t.Errorf("%s: imported %v", name, im.Bundle.Items())
		}
	}
}

func FuzzDstack(f *testing.F) {
	d := newDstackVM(f, attack.NewWorld(), 0)
	f.Add(d.getQuote(f))
	f.Add(d.tpmQuote(f))
	f.Add(d.attestation(1, "gcp-tdx"))
	f.Add(d.attestation(1, "tdx"))
	f.Fuzz(func(t *testing.T, file []byte) {
		im, err := importer.Dstack(file)
		sound(t, im, err)
	})
}

// sound holds what was imported, if it was, to be a bundle of its profile.
func sound(t *testing.T, im *importer.Import, err error) {
	t.Helper()
	if err != nil {
		return
	}
	b, err := im.Bundle.Marshal()
	if err != nil {
		return // over the size of a bundle
	}
	if _, err := poclog.ParseBundle(b); err != nil {
		t.Errorf("the bundle does not parse: %v", err)
	}
	if _, err := profile.Look(im.Profile, im.Bundle); err != nil {
		t.Errorf("its outlook: %v", err)
	}
}
