package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-sev-guest/abi"
	"github.com/google/go-sev-guest/proto/sevsnp"
	"google.golang.org/protobuf/proto"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/amd"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/verify/profile"
	"github.com/poclog/poclog/verify/snp"
	"github.com/poclog/poclog/verify/tdx"
)

// A live quote says what it does only if its TEE cannot be read by its host, whose launch
// measurement would be the same.
func TestLiveQuotesAreOfTEEsThatTheirHostsCannotRead(t *testing.T) {
	from := time.Now().AddDate(-1, 0, 0)
	platform := chip.NewMaker("live test", from).NewPlatform("host", nil)
	maker := amd.NewMaker("live test", "Milan", from)
	cpu := maker.NewChip("host", [8]byte{})
	file := func(g amd.Guest, k *amd.CloudKey) []byte {
		r, err := abi.ReportToProto(cpu.Report(g, k))
		if err != nil {
			t.Fatal(err)
		}
		certs := amd.Certificates(cpu.Certs())
		chain := &sevsnp.CertificateChain{VcekCert: certs[0], AskCert: certs[1], ArkCert: certs[2]}
		if k != nil {
			certs = amd.Certificates(k.Certs())
			chain = &sevsnp.CertificateChain{VlekCert: certs[0], AskCert: certs[1], ArkCert: certs[2]}
		}
		b, err := proto.Marshal(&sevsnp.Attestation{Report: r, CertificateChain: chain})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	quote := func(td chip.TD) []byte { return append(platform.Quote(td), make([]byte, 100)...) }
	q, err := tdx.ParseQuote(platform.Quote(chip.TD{}))
	if err != nil {
		t.Fatal(err)
	}
	r, err := snp.ParseReport(cpu.Report(amd.Guest{}, nil))
	if err != nil {
		t.Fatal(err)
	}
	ofTDX, ofSNP := poclog.CVM{Technology: "tdx", Measurement: q.Body.MRTD[:]}, poclog.CVM{Technology: "snp", Measurement: r.Measurement[:]}
	other := poclog.CVM{Technology: "tdx", Measurement: bytes.Repeat([]byte{0xee}, 48)}
	id, ok := poclog.HexIdentity("amd:snp:chipid", cpu.ID[:])
	if !ok {
		t.Fatal(id)
	}
	chipTDX, chipSNP := q.Platform.Identities(), []poclog.Identity{id}
	for name, c := range map[string]struct {
		cvm  poclog.CVM
		chip []poclog.Identity
		raw  []byte
		say  string // "" is accepted
	}{
		"TDX":                  {ofTDX, chipTDX, quote(chip.TD{}), ""},
		"TDX, debug":           {ofTDX, chipTDX, quote(chip.TD{Debug: true}), "tee.no-debug"},
		"TDX, another chip":    {ofTDX, chipSNP, quote(chip.TD{}), "quote: it is of chip"},
		"TDX, another launch":  {other, chipTDX, quote(chip.TD{}), "quote: its launch measurement"},
		"SNP":                  {ofSNP, chipSNP, file(amd.Guest{}, nil), ""},
		"SNP, a cloud's key":   {ofSNP, chipSNP, file(amd.Guest{}, maker.NewCloudKey("a cloud", [8]byte{})), ""},
		"SNP, debug":           {ofSNP, chipSNP, file(amd.Guest{Debug: true}, nil), "tee.no-debug"},
		"SNP, migration":       {ofSNP, chipSNP, file(amd.Guest{MigrateMA: true}, nil), "tee.no-debug"},
		"SNP, nobody's chip":   {ofSNP, chipSNP, file(amd.Guest{Masked: true}, maker.NewCloudKey("a cloud", [8]byte{})), "masks CHIP_ID"},
		"SNP, another chip":    {ofSNP, chipTDX, file(amd.Guest{}, nil), "quote: it is of chip"},
		"SNP, no certificates": {ofSNP, chipSNP, cpu.Report(amd.Guest{}, nil), "with its certificates"},
	} {
		compare := func(realm poclog.Realm) error {
			b, err := liveQuote(c.raw, c.cvm.Technology)
			if err != nil {
				return err
			}
			return profile.CompareLive(b, &poclog.Entry{Realm: realm, Chassis: c.chip, CVM: c.cvm}, time.Now())
		}
		err := compare(poclog.Lab)
		if c.say == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			// In production, the laboratory's chips are nobody's.
			if err := compare(poclog.Production); err == nil || !strings.Contains(err.Error(), "tee.chain") {
				t.Errorf("%s, in production: %v", name, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: %v: want %q", name, err, c.say)
		}
	}
}
