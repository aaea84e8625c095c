package tpm_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/realdata"
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

var selection = []swtpm.Selection{{Alg: tpm2.TPMAlgSHA256, PCRs: []uint{0, 1, 7}}, {Alg: tpm2.TPMAlgSHA384, PCRs: []uint{4, 8}}}

func TestARealTPMsQuoteVerifies(t *testing.T) {
	for name, isRSA := range map[string]bool{"ECDSA": false, "RSA": true} {
		t.Run(name, func(t *testing.T) {
			v := swtpm.Start(t)
			v.Extend(7, []byte("boot"))
			v.Extend(8, []byte("kernel"))
			ak := v.Create(swtpm.Template(isRSA, nil))
			item, values := ak.Quote([]byte("nonce"), selection...)
			q, err := tpm.ParseQuote(item)
			if err != nil {
				t.Fatal(err)
			}
			public, err := tpm.ParsePublic(ak.Public)
			if err != nil {
				t.Fatal(err)
			}
			if err := q.Verify(public.Key()); err != nil {
				t.Error(err)
			}
			if err := tpm.CheckAKTemplate(public, q, public.Key()); err != nil {
				t.Error(err)
			}
			pcrs, err := tpm.CheckPCRs(q, values)
			if err != nil {
				t.Fatal(err)
			}
			if got, ok := pcrs.Get(tpm.SHA256, 7); !ok || !bytes.Equal(got, v.Read(tpm2.TPMAlgSHA256, 7)) {
				t.Errorf("PCR 7: %x", got)
			}
			if _, ok := pcrs.Get(tpm.SHA384, 7); ok {
				t.Error("a register that the quote does not select has a value (pcr-unselected)")
			}
			if string(q.ExtraData) != "nonce" || q.Safe && q.Clock == 0 {
				t.Errorf("%+v", q)
			}
			_, err = tpm.CheckPCRs(q, append(bytes.Clone(values), 0))
			wantCheck(t, "a value more", err, verify.TPMPCRDigest)
			_, err = tpm.CheckPCRs(q, values[:32])
			wantCheck(t, "values less", err, verify.TPMPCRDigest)
		})
	}
}

func TestKeysThatSignAnythingAreNoAKs(t *testing.T) {
	v := swtpm.Start(t)
	good := swtpm.Template(false, nil)
	ak := v.Create(good)
	item, _ := ak.Quote(nil, selection...)
	q, err := tpm.ParseQuote(item)
	if err != nil {
		t.Fatal(err)
	}
	free := good
	free.ObjectAttributes.Restricted = false
	unrestricted := v.Create(free)
	public, err := tpm.ParsePublic(unrestricted.Public)
	if err != nil {
		t.Fatal(err)
	}
	wantCheck(t, "an unrestricted key (ak-unrestricted)", tpm.CheckAKTemplate(public, q, public.Key()), verify.TPMAKTemplate)
	if public, err = tpm.ParsePublic(ak.Public); err != nil {
		t.Fatal(err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	wantCheck(t, "another key than the certified one (ak-swap)", tpm.CheckAKTemplate(public, q, &other.PublicKey), verify.TPMAKTemplate)
	wantCheck(t, "a quote by another key", q.Verify(&other.PublicKey), verify.TPMSignature)
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err == nil {
		wantCheck(t, "a small key", q.Verify(&small.PublicKey), verify.TPMSignature)
	}
	// A key with the AK's name but another parent signs with another qualified name.
	owner, err := tpm2.CreatePrimary{
		PrimaryHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHNull, Auth: tpm2.PasswordAuth(nil)}, InPublic: tpm2.New2B(good),
	}.Execute(v)
	if err != nil {
		t.Fatal(err)
	}
	contents, err := owner.OutPublic.Contents()
	if err != nil {
		t.Fatal(err)
	}
	if public, err = tpm.ParsePublic(tpm2.Marshal(contents)); err != nil {
		t.Fatal(err)
	}
	wantCheck(t, "a quote by another key's name", tpm.CheckAKTemplate(public, q, public.Key()), verify.TPMAKTemplate)
}

func TestWhatTheLaboratoryBuildsVerifies(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	check := func(name string, item []byte, public *tpm.Public) {
		q, err := tpm.ParseQuote(item)
		if err != nil {
			t.Fatal(err)
		}
		if err := q.Verify(public.Key()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := tpm.CheckAKTemplate(public, q, public.Key()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := tpm.CheckPCRs(q, make([]byte, 32)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if q.ResetCount != 3 || q.RestartCount != 4 || !q.Safe || q.Clock != 5 || q.Firmware != 6 {
			t.Errorf("%s: %+v", name, q)
		}
		for i := range item {
			changed := bytes.Clone(item)
			changed[i] ^= 1
			q, err := tpm.ParseQuote(changed)
			if err == nil {
				err = q.Verify(public.Key())
			}
			if err == nil {
				t.Errorf("%s: byte %d changed and accepted", name, i)
			}
		}
	}
	for name, pub := range map[string]any{"RSA": &rsaKey.PublicKey, "ECDSA": &ecKey.PublicKey} {
		raw, err := tpm.AKPublic(pub, nil)
		if err != nil {
			t.Fatal(err)
		}
		public, err := tpm.ParsePublic(raw)
		if err != nil {
			t.Fatal(err)
		}
		a := tpm.Attestation{
			AK: public, ExtraData: []byte("x"), Clock: 5, ResetCount: 3, RestartCount: 4, Safe: true, Firmware: 6,
			Selection: []tpm.PCRSelection{{Alg: tpm.SHA256, PCRs: []int{7}}}, Values: make([]byte, 32),
		}
		var item []byte
		if name == "RSA" {
			item, err = tpm.SignQuote(a.Marshal(), rsaKey)
		} else {
			item, err = tpm.SignQuote(a.Marshal(), ecKey)
		}
		if err != nil {
			t.Fatal(err)
		}
		check(name, item, public)
	}
}

func TestRealAzureVM(t *testing.T) {
	b, _ := realdata.Azure(t)
	h, err := tpm.ParseHCL(b.Get(poclog.ItemHCLReport))
	if err != nil {
		t.Fatal(err)
	}
	root := map[[32]byte]bool{mustDigest("e6c596b17f8ffefba5c300f714cfb1260c6028704ecf7becc4ab5018efb00e95"): true}
	leaf, err := tpm.CheckChain(verify.TPMAKChain, b.Get(poclog.ItemTPMAKChain), root, realdata.AzureTime)
	if err != nil {
		t.Fatal(err)
	}
	q, err := tpm.ParseQuote(b.Get(poclog.ItemTPMQuote))
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []any{h.AK, leaf.PublicKey} {
		if err := q.Verify(key); err != nil {
			t.Error(err)
		}
	}
	if _, err := tpm.CheckPCRs(q, b.Get(poclog.ItemTPMPCRs)); err != nil {
		t.Error(err)
	}
	_, err = tpm.CheckChain(verify.TPMAKChain, b.Get(poclog.ItemTPMAKChain), root, realdata.AzureTime.AddDate(3, 0, 0))
	wantCheck(t, "an expired AK certificate", err, verify.TPMAKChain)
	_, err = tpm.CheckChain(verify.TPMAKChain, b.Get(poclog.ItemTPMAKChain), map[[32]byte]bool{{}: true}, realdata.AzureTime)
	wantCheck(t, "a root that is not listed (ak-uncertified)", err, verify.TPMAKChain)
	padded := append(bytes.Clone(b.Get(poclog.ItemHCLReport)), make([]byte, 100)...)
	_, err = tpm.ParseHCL(padded)
	wantCheck(t, "a padded HCL report", err, verify.Format)
	if cut, err := tpm.TrimHCL(padded); err != nil || !bytes.Equal(cut, b.Get(poclog.ItemHCLReport)) {
		t.Errorf("padding is not cut: %v", err)
	}
	twice := bytes.Replace(b.Get(poclog.ItemHCLReport), []byte(`"kid":"HCLEkPub"`), []byte(`"kid":"HCLAkPub"`), 1)
	_, err = tpm.ParseHCL(twice)
	wantCheck(t, "two AKs in one report", err, verify.Format)
}

func mustDigest(s string) poclog.Digest {
	d, err := poclog.ParseDigest(s)
	if err != nil {
		panic(err)
	}
	return d
}

func TestRealGCECertificateNamesItsInstance(t *testing.T) {
	var chain []byte
	for _, name := range []string{"akcert.pem", "ak_intermediate.pem", "ak_root.pem"} {
		block, _ := pem.Decode(realdata.File(t, "gce-ak-2024", name))
		chain = append(chain, block.Bytes...)
	}
	root := map[[32]byte]bool{mustDigest("594759594b9b61524f6c8ef668f7177f7b9066bc0674f2f49fe9e052be78beb2"): true}
	leaf, err := tpm.CheckChain(verify.TPMAKChain, chain, root, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	g, err := tpm.ParseGCEInstance(leaf)
	if err != nil {
		t.Fatal(err)
	}
	if !g.Production || g.Zone != "us-central1-a" || tpm.RegionOf(g.Zone) != "us-central1" {
		t.Errorf("%+v", g)
	}
	plain := *leaf
	plain.Extensions = nil
	_, err = tpm.ParseGCEInstance(&plain)
	wantCheck(t, "a certificate without the extension", err, verify.PlaceCert)
	_, err = tpm.ParseChain(append(bytes.Clone(chain), 0))
	wantCheck(t, "padding after the chain", err, verify.Format)
	padded := append(bytes.Clone(leaf.Raw), make([]byte, 50)...)
	if cut, err := tpm.TrimCertificate(padded); err != nil || !bytes.Equal(cut, leaf.Raw) {
		t.Errorf("padding is not cut: %v", err)
	}
}

func FuzzParseQuote(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	raw, err := tpm.AKPublic(&key.PublicKey, nil)
	if err != nil {
		f.Fatal(err)
	}
	public, err := tpm.ParsePublic(raw)
	if err != nil {
		f.Fatal(err)
	}
	a := tpm.Attestation{AK: public, Selection: []tpm.PCRSelection{{Alg: tpm.SHA256, PCRs: []int{7}}}, Values: make([]byte, 32)}
	item, err := tpm.SignQuote(a.Marshal(), key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(item)
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := tpm.ParseQuote(b)
		if err != nil {
			if _, ok := verify.CheckOf(err); !ok {
				t.Error(err)
			}
			return
		}
		q.Boot()
		_ = q.Verify(&key.PublicKey)
		_, _ = tpm.CheckPCRs(q, b)
		_ = tpm.CheckAKTemplate(public, q, &key.PublicKey)
	})
}

func FuzzParsePublic(f *testing.F) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		f.Fatal(err)
	}
	raw, err := tpm.AKPublic(&key.PublicKey, make([]byte, 32))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := tpm.ParsePublic(b); err == nil && p.Key() == nil {
			t.Error("no key")
		}
	})
}

func FuzzParseHCL(f *testing.F) {
	report := make([]byte, 1236)
	copy(report, "HCLA")
	json := `{"keys":[{"kid":"HCLAkPub","kty":"RSA","e":"AQAB","n":"` + string(bytes.Repeat([]byte("q"), 342)) + `"}],"vm-configuration":{"vmUniqueId":"x"}}`
	report[1224], report[1228], report[1232], report[1233] = 4, 1, byte(len(json)), byte(len(json)>>8)
	f.Add(append(report, json...))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := tpm.ParseHCL(b)
		if err == nil && (h.AK == nil || len(h.JSON) != len(b)-1236) {
			t.Error("accepted without key, or with padding")
		}
	})
}

func FuzzGCEInstance(f *testing.F) {
	g := tpm.GCEInstance{Zone: "us-central1-a", ProjectNumber: 1, ProjectID: "p", InstanceID: 2, InstanceName: "i", Production: true}
	der, err := g.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(der)
	f.Fuzz(func(t *testing.T, der []byte) {
		cert := &x509.Certificate{Extensions: extension(der)}
		g, err := tpm.ParseGCEInstance(cert)
		if err != nil {
			return
		}
		again, err := g.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if h, err := tpm.ParseGCEInstance(&x509.Certificate{Extensions: extension(again)}); err != nil || *h != *g {
			t.Errorf("%+v is read as %+v (%v)", g, h, err)
		}
	})
}
