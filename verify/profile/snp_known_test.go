package profile

import (
	"bytes"
	"os"
	"testing"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/amd"
	"github.com/poclog/poclog/internal/lab/attack"
	"github.com/poclog/poclog/internal/lab/azure"
	"github.com/poclog/poclog/verify"
)

// A judge who knows a platform does not verify its chain again. Whatever a chip could sign, he and
// one without memory must say the same of it: an auditor who computes an entry again would else
// convict an honest log. Every bit of what a report says is changed in turn and signed anew: one of
// each byte, or with POCLOG_EVERY_BYTE each.
func TestAKnownSNPPlatformIsJudgedAsANewOne(t *testing.T) {
	w := attack.NewWorldOf(poclog.SNP)
	w.Azure = azure.New("known", labNow.AddDate(-1, 0, 0), azure.Products...)
	w.Policy.Roots, w.Policy.SNPTCB = w.Azure.Roots(), nil
	w.Collateral = new(poclog.Collateral).With(w.Azure.CRLs(amd.CRLOptions{At: labNow.AddDate(0, 0, -1)})...)
	every := os.Getenv("POCLOG_EVERY_BYTE") != ""
	for _, product := range azure.Products {
		for version := uint32(2); version <= 5; version++ {
			for _, loaded := range []*amd.CloudKey{nil, w.Azure.AMD[product].NewCloudKey("a cloud", [8]byte{})} {
				if !every && (product != "Milan" || (version == 5) != (loaded == nil) || version < 4 && loaded == nil || version == 2) {
					continue
				}
				chip := w.Azure.AMD[product].NewChip("chip", [8]byte{})
				certs := chip.Certs()
				if loaded != nil {
					certs = loaded.Certs()
				}
				k := NewKnown()
				try := func(report []byte, k *Known) string {
					b := new(poclog.Bundle)
					b.Set(poclog.ItemSNPReport, report)
					b.Set(poclog.ItemSNPCerts, certs)
					in := judging(t, w, b)
					in.Known = k
					a, err := Appraise(in)
					if err != nil {
						if _, ok := verify.CheckOf(err); !ok {
							t.Errorf("%v: no check is named", err)
						}
						return "refused"
					}
					leaf, err := a.Entry.Marshal()
					if err != nil {
						t.Fatal(err)
					}
					return string(leaf)
				}
				honest := chip.Report(amd.Guest{Version: version}, loaded)
				if try(honest, k) == "refused" {
					t.Fatalf("%s, version %d: an honest report is refused", product, version)
				}
				accepted := 0
				for at := range honest[:0x2a0] {
					for bit := range 8 {
						if !every && (bit != at%8 || at > 0x50 && at < 0x180 && at%16 != 0 || (raceEnabled || testing.Short()) && at%7 != 0) {
							continue
						}
						report := bytes.Clone(honest)
						report[at] ^= 1 << bit
						chip.Sign(report, loaded)
						known, new := try(report, k), try(report, nil)
						if known != new {
							t.Errorf("%s, version %d, loaded %v, byte %#x, bit %d: known: %.200s; new: %.200s", product, version, loaded != nil, at, bit, known, new)
						}
						if new != "refused" {
							accepted++
						}
					}
				}
				t.Logf("%s, version %d, loaded %v: %d changes are accepted, as what a chip may say", product, version, loaded != nil, accepted)
			}
		}
	}
}
