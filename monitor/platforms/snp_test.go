package platforms_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/amd"
	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/monitor/platforms"
)

// proveSNP logs a proof of an SEV-SNP chip.
func (b *bench) proveSNP(c *amd.Chip, report []byte, id poclog.Identity) {
	b.t.Helper()
	bundle := new(poclog.Bundle)
	bundle.Set(poclog.ItemSNPReport, report)
	bundle.Set(poclog.ItemSNPCerts, c.Certs())
	file, err := bundle.Marshal()
	if err != nil {
		b.t.Fatal(err)
	}
	b.bundles[poclog.Sum(file)] = file
	b.records = append(b.records, monitor.Record{
		Origin: origin, Index: uint64(len(b.records)), Kind: monitor.KindProof, Realm: poclog.Lab, Appraised: now.Add(-time.Hour), Chip: id, Bundle: poclog.Sum(file),
	})
}

func TestSNPPlatformsFallByThePolicyAndByAMDsLists(t *testing.T) {
	b := newBench(t)
	milan, genoa := amd.NewMaker("platforms", "Milan", start), amd.NewMaker("platforms", "Genoa", start)
	for _, m := range []*amd.Maker{milan, genoa} {
		b.policy.Roots = append(b.policy.Roots, poclog.Root{Use: poclog.RootAMDARK, SHA256: poclog.Sum(m.Root()), Name: m.Product})
	}
	bad, good, other := milan.NewChip("bad", milan.DefaultTCB()), milan.NewChip("good", milan.DefaultTCB()), genoa.NewChip("other", genoa.DefaultTCB())
	ids := make(map[*amd.Chip]poclog.Identity)
	for _, c := range []*amd.Chip{bad, good, other} {
		ids[c], _ = poclog.HexIdentity(poclog.AMDChipID, c.ID[:])
		b.proveSNP(c, c.Report(amd.Guest{}, nil), ids[c])
	}
	k := b.open()
	b.learn(k, 3)
	if kept, without, err := k.Counts(t.Context()); err != nil || kept != 3 || without != 0 {
		t.Fatalf("%d kept, %d without, %v", kept, without, err)
	}
	if lists, err := k.AMDLists(t.Context()); err != nil || len(lists) != 2 || !slices.Contains(lists, "vcek-milan") || !slices.Contains(lists, "vcek-genoa") {
		t.Errorf("%v, %v", lists, err)
	}
	judge := func(items ...poclog.CollateralItem) platforms.Judgement {
		t.Helper()
		j, err := k.Judge(t.Context(), new(poclog.Collateral).With(items...))
		if err != nil {
			t.Fatal(err)
		}
		return j
	}
	at := now.Add(-time.Hour)
	if j := judge(milan.CRL(amd.CRLOptions{At: at}), genoa.CRL(amd.CRLOptions{At: at})); j.Judged != 3 || j.Fallen != 0 || len(j.Ignored) != 0 {
		t.Errorf("%+v", j)
	}
	for range 2 {
		judge(milan.CRL(amd.CRLOptions{At: at.Add(time.Minute), Chips: []*amd.Chip{bad}}))
	}
	b.want(platforms.RuleRevoked, 1)
	if a := b.alerts(platforms.RuleRevoked)[0]; a.Subject != ids[bad] || !strings.Contains(a.Seen, "revoked") {
		t.Errorf("%+v", a)
	}
	// A list of a root that is nobody's, or that is expired, judges nothing.
	stranger := amd.NewMaker("stranger", "Milan", start)
	for _, it := range []poclog.CollateralItem{
		stranger.CRL(amd.CRLOptions{At: at, RevokeASK: true}), milan.CRL(amd.CRLOptions{At: now.AddDate(-2, 0, 0), RevokeASK: true}),
	} {
		if j := judge(it); j.Fallen != 0 || len(j.Ignored) != 1 {
			t.Errorf("%+v", j)
		}
	}
	// Nobody publishes levels: the policy says what is too old, of one product and not of another.
	tcb := milan.DefaultTCB()
	b.policy.SNPTCB = []poclog.SNPTCB{{Product: "Milan", Bootloader: tcb[0], TEE: tcb[1], SNP: tcb[6], Microcode: tcb[7]}}
	if j := judge(); j.Fallen != 0 || j.Judged != 2 {
		t.Errorf("%+v", j)
	}
	b.policy.SNPTCB[0].Microcode++
	for range 2 {
		if j := judge(); j.Fallen != 2 {
			t.Errorf("%+v", j)
		}
	}
	b.want(platforms.RuleFell, 2)
}
