package tpm_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"testing"

	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/tpm"
)

// akKey is a key for tests without a TPM.
var akKey = chip.NewKey("verify/tpm", "AK")

// builtPublic returns the TPMT_PUBLIC of an AK around akKey.
func builtPublic(t testing.TB) *tpm.Public {
	t.Helper()
	raw, err := tpm.AKPublic(akKey.Public(), nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := tpm.ParsePublic(raw)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// builtQuote returns a quote's item, signed by akKey.
func builtQuote(t testing.TB) []byte {
	t.Helper()
	a := tpm.Attestation{
		AK: builtPublic(t), ExtraData: []byte("nonce"), Clock: 5, ResetCount: 3, RestartCount: 4, Safe: true, Firmware: 6,
		Selection: []tpm.PCRSelection{{Alg: tpm.SHA256, PCRs: []int{0, 7}}, {Alg: tpm.SHA384, PCRs: []int{8}}}, Values: make([]byte, 2*32+48),
	}
	item, err := tpm.SignQuote(a.Marshal(), akKey)
	if err != nil {
		t.Fatal(err)
	}
	return item
}

// wantFormat fails unless an error is a check's and of one line.
func wantFormat(t *testing.T, err error, want verify.Check) {
	t.Helper()
	wantCheck(t, "input", err, want)
	if bytes.ContainsAny([]byte(err.Error()), "\n\r") {
		t.Errorf("error of more than a line: %q", err)
	}
}

func FuzzParseQuote(f *testing.F) {
	public, item := builtPublic(f), builtQuote(f)
	f.Add(item)
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := tpm.ParseQuote(b)
		if err != nil {
			wantFormat(t, err, verify.Format)
			return
		}
		if !bytes.Equal(q.Marshal(), b) {
			t.Errorf("%x is written as %x", b, q.Marshal())
		}
		if q.Verify(akKey.Public()) == nil && !bytes.HasPrefix(item[2:], q.Attest) {
			t.Errorf("a forged quote verifies: %x", b)
		}
		if _, err := tpm.CheckPCRs(q, b); err == nil {
			t.Error("a quote holds the values of its own digest")
		}
		_ = tpm.CheckAKTemplate(public, q, akKey.Public()) // it must not panic
	})
}

func FuzzParsePublic(f *testing.F) {
	f.Add(builtPublic(f).Marshal())
	f.Add(rsaPublic(f))
	q, err := tpm.ParseQuote(builtQuote(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := tpm.ParsePublic(b)
		if err != nil {
			wantFormat(t, err, verify.Format)
			return
		}
		if !bytes.Equal(p.Marshal(), b) {
			t.Errorf("%x is written as %x", b, p.Marshal())
		}
		switch p.Key().(type) {
		case *rsa.PublicKey, *ecdsa.PublicKey:
		default:
			t.Errorf("key of type %T", p.Key())
		}
		_ = q.Verify(p.Key()) // it must not panic
		if tpm.CheckAKTemplate(p, q, p.Key()) == nil && !bytes.Equal(b, builtPublic(t).Marshal()) {
			t.Errorf("another key fits the quote: %x", b)
		}
	})
}

func FuzzParseHCL(f *testing.F) {
	f.Add(builtHCL(hclJSON))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := tpm.ParseHCL(b)
		if err != nil {
			wantFormat(t, err, verify.Format)
		} else if h.AK == nil || !bytes.Equal(h.JSON, b[1236:]) || !bytes.Equal(h.HardwareReport, b[32:1216]) {
			t.Error("accepted without key, or with padding")
		}
		cut, err := tpm.TrimHCL(b)
		if err != nil {
			wantFormat(t, err, verify.Format)
		} else if _, err := tpm.ParseHCL(cut); err != nil {
			t.Errorf("cut, but %v", err)
		}
	})
}

func FuzzGCEInstance(f *testing.F) {
	f.Add(builtInstance(f))
	f.Fuzz(func(t *testing.T, der []byte) {
		g, err := tpm.ParseGCEInstance(withExtension(der))
		if err != nil {
			wantFormat(t, err, verify.PlaceCert)
			return
		}
		again, err := g.Marshal()
		if err != nil || !bytes.Equal(again, der) {
			t.Errorf("%x is written as %x (%v)", der, again, err)
		}
		if g.Region() == "" || g.PZID() == [48]byte{} {
			t.Errorf("%+v: no region", g)
		}
	})
}

func FuzzParseChain(f *testing.F) {
	f.Add(goodChain(f).join())
	f.Fuzz(func(t *testing.T, b []byte) {
		chain, err := tpm.ParseChain(b)
		if err != nil {
			wantFormat(t, err, verify.Format)
			return
		}
		var again []byte
		for _, c := range chain {
			again = append(again, c.Raw...)
		}
		if !bytes.Equal(again, b) {
			t.Error("the certificates are not all of the chain")
		}
		if _, err := tpm.CheckChain(verify.TPMAKChain, b, nil, chainTime); err == nil {
			t.Error("a chain leads to no root and is accepted")
		}
	})
}

// withExtension returns a certificate of which only the instance extension matters.
func withExtension(der []byte) *x509.Certificate {
	return &x509.Certificate{Extensions: []pkix.Extension{{Id: tpm.OIDGCEInstance, Value: der}}}
}
