package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-sev-guest/abi"
	"github.com/google/go-sev-guest/proto/sevsnp"
	"google.golang.org/protobuf/proto"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/amd"
	"github.com/poclog/poclog/internal/lab/chip"
)

// A live quote says what it does only if its TEE cannot be read by its host, whose launch measurement would be the same.
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
	for name, c := range map[string]struct {
		read func([]byte, poclog.Realm) (*liveQuote, error)
		raw  []byte
		say  string // "" is accepted
	}{
		"TDX":                  {liveTDX, append(platform.Quote(chip.TD{}), make([]byte, 100)...), ""},
		"TDX, debug":           {liveTDX, platform.Quote(chip.TD{Debug: true}), "tee.no-debug"},
		"SNP":                  {liveSNP, file(amd.Guest{}, nil), ""},
		"SNP, a cloud's key":   {liveSNP, file(amd.Guest{}, maker.NewCloudKey("a cloud", [8]byte{})), ""},
		"SNP, debug":           {liveSNP, file(amd.Guest{Debug: true}, nil), "tee.no-debug"},
		"SNP, migration":       {liveSNP, file(amd.Guest{MigrateMA: true}, nil), "tee.no-debug"},
		"SNP, nobody's chip":   {liveSNP, file(amd.Guest{Masked: true}, maker.NewCloudKey("a cloud", [8]byte{})), "masks CHIP_ID"},
		"SNP, no certificates": {liveSNP, cpu.Report(amd.Guest{}, nil), "with its certificates"},
	} {
		q, err := c.read(c.raw, poclog.Lab)
		if c.say == "" {
			if err != nil || len(q.chips) == 0 {
				t.Errorf("%s: %v", name, err)
			}
			// In production, the laboratory's chips are nobody's.
			if _, err := c.read(c.raw, poclog.Production); err == nil || !strings.Contains(err.Error(), "tee.chain") {
				t.Errorf("%s, in production: %v", name, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: %v: want %q", name, err, c.say)
		}
	}
}
