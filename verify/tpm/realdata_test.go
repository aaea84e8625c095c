package tpm_test

import (
	"bytes"
	"crypto/sha512"
	"crypto/x509/pkix"
	"encoding/pem"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/realdata"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/tpm"
)

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
	if !bytes.Equal(q.Marshal(), b.Get(poclog.ItemTPMQuote)) {
		t.Error("the quote is written as another")
	}
	pcrs, err := tpm.CheckPCRs(q, b.Get(poclog.ItemTPMPCRs))
	if err != nil {
		t.Fatal(err)
	}
	if pcr0, ok := pcrs.Get(tpm.SHA256, 0); !ok || len(pcr0) != 32 {
		t.Errorf("PCR 0: %x", pcr0)
	}
	if h.Type != tpm.HCLTypeTDX || h.EK == nil || h.VMUniqueID == "" || h.UserData != [64]byte{} {
		t.Errorf("type %d, VM %q, user data %x", h.Type, h.VMUniqueID, h.UserData)
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
	if !g.Production || g.Zone != "us-central1-a" || g.Region() != "us-central1" || g.ProjectID != "core-eso" || g.InstanceName != "instance-1" {
		t.Errorf("%+v", g)
	}
	if leaf.Subject.CommonName != strconv.FormatUint(g.InstanceID, 10) {
		t.Errorf("instance %d of %s", g.InstanceID, leaf.Subject)
	}
	der, err := g.Marshal()
	if err != nil || !slices.ContainsFunc(leaf.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(tpm.OIDGCEInstance) && bytes.Equal(e.Value, der) }) {
		t.Errorf("the extension is written as %x: %v", der, err)
	}
	plain := *leaf
	plain.Extensions = nil
	_, err = tpm.ParseGCEInstance(&plain)
	wantCheck(t, "a certificate without the extension", err, verify.PlaceCert)
	_, err = tpm.ParseChain(append(bytes.Clone(chain), 0))
	wantCheck(t, "padding after the chain", err, verify.Format)
}

func TestThePZIDIsTheHashOfTheInstancesJSON(t *testing.T) {
	g := tpm.GCEInstance{Zone: "us-central1-a", ProjectNumber: 995732582300, ProjectID: "p", InstanceID: 6524697943022743941, InstanceName: "i"}
	if got := g.PZID(); got != sha512.Sum384([]byte(`{"instanceId":6524697943022743941,"numericalProjectId":995732582300,"zone":"us-central1-a"}`)) {
		t.Errorf("PZID %x", got)
	}
}
