package rule

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
)

var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

const (
	ppidA = poclog.Identity("intel:tdx:ppid:1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a")
	ppidB = poclog.Identity("intel:tdx:ppid:1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b")
	piid  = poclog.Identity("intel:tdx:piid:2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a")
	ekOne = poclog.Identity("tpm:ek:4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a")
	ekTwo = poclog.Identity("tpm:ek:4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b")
	akOne = poclog.Identity("tpm:ak:5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a")
	akTwo = poclog.Identity("tpm:ak:5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b")
)

// claimed is a claim of a joined entry at level 2 on one chip, in boot 5.0, at noon.
func claimed(index uint64, change func(e *poclog.Entry)) *Claim {
	e := &poclog.Entry{
		Profile: poclog.GCETDXvTPM, Level: poclog.LevelBound, Realm: poclog.Production, Chassis: []poclog.Identity{ppidA}, Keys: []poclog.Identity{akOne},
		Instance: poclog.GCEInstanceIdentity(1, 1), Quote: "quote:6a6a6a6a6a6a6a6a6a6a6a6a6a6a6a6a6a6a6a6a6a6a6a6a6a6a6a6a6a6a6a6a",
		Checks: []string{string(verify.TPMAKTemplate), string(verify.BindAKInTEE), string(verify.BindTEEInTPM)}, Appraised: noon,
		CVM:   poclog.CVM{FMSPC: []byte{1}, PCEID: []byte{1}, Measurement: []byte{1}, TCB: &poclog.TCB{Status: "UpToDate", Evaluation: 17}},
		TPM:   &poclog.TPM{KeyType: "ecc-p256", ResetCount: 5, Clock: 100, Safe: true, Firmware: 9, ExtraData: []byte{1}},
		Place: &poclog.Place{Provider: poclog.Claim{Value: "gce", By: []string{"ak-certificate"}}}, Fresh: &poclog.Fresh{Origin: "a.test", Size: 1},
	}
	if change != nil {
		change(e)
	}
	return &Claim{Origin: "a.test", Index: index, Entry: e, T1: noon, T2: noon.Add(time.Minute)}
}

func chip(id poclog.Identity) func(e *poclog.Entry) {
	return func(e *poclog.Entry) {
		if e.Chassis = nil; id != "" {
			e.Chassis = []poclog.Identity{id}
		}
	}
}

// found runs a rule, either way round, and says what it finds.
func found(t *testing.T, r Rule, e, f *Claim) string {
	t.Helper()
	one, two := r.Run(e, f, Limits{}), r.Run(f, e, Limits{})
	if fmt.Sprint(one) != fmt.Sprint(two) {
		t.Errorf("%s: %+v and %+v", r.ID, one, two)
	}
	if one == nil {
		return ""
	}
	return one.Rule + " " + string(one.Severity)
}

// A rule needs what it compares on both sides.
func TestRulesCompareNothingWithNothing(t *testing.T) {
	type edit = func(e *poclog.Entry)
	both := func(edits ...edit) edit {
		return func(e *poclog.Entry) {
			for _, f := range edits {
				f(e)
			}
		}
	}
	as := func(p poclog.Profile) edit { return func(e *poclog.Entry) { e.Profile = p } }
	keys := func(ids ...poclog.Identity) edit { return func(e *poclog.Entry) { e.Keys = ids } }
	chassis := func(ids ...poclog.Identity) edit { return func(e *poclog.Entry) { e.Chassis = ids } }
	levelZero := func(e *poclog.Entry) { e.Level = poclog.LevelChip }
	unjoined := func(e *poclog.Entry) { e.Checks = e.Checks[1:] }
	boot6 := func(e *poclog.Entry) { e.TPM.ResetCount = 6 }
	place := func(provider, region, zone string) edit {
		return func(e *poclog.Entry) {
			by := []string{"ak-certificate"}
			e.Place = &poclog.Place{Provider: poclog.Claim{Value: provider, By: by}, Region: poclog.Claim{Value: region, By: by}, Zone: poclog.Claim{Value: zone, By: by}}
		}
	}
	metal := both(as(poclog.BareMetalTDXTPM), chassis(ppidA, ekOne))
	fmspc := func(b ...byte) edit { return func(e *poclog.Entry) { e.CVM.FMSPC = b } }
	pceid := func(b ...byte) edit { return func(e *poclog.Entry) { e.CVM.PCEID = b } }
	evaluation := func(n uint32) edit {
		return func(e *poclog.Entry) { e.CVM.TCB = &poclog.TCB{Status: "UpToDate", Evaluation: n} }
	}
	late := func(e *poclog.Entry) { e.Appraised = noon.Add(time.Hour) }
	noTCB := func(e *poclog.Entry) { e.CVM.TCB = nil }
	stale := func(e *poclog.Entry) { e.Fresh = nil }
	snp := func(product string) edit {
		return func(e *poclog.Entry) { e.CVM.SNP = &poclog.SNPReport{Product: product, Signer: "vcek"} }
	}
	for _, c := range []struct {
		name string
		rule Rule
		e, f edit
		want string
	}{
		{"a quote in two boots", quoteReplayed, nil, boot6, "quote-replayed contradiction"},
		{"of which the first is not joined", quoteReplayed, unjoined, boot6, ""},
		{"of which the second is not joined", quoteReplayed, nil, both(boot6, unjoined), ""},
		{"of which none is joined", quoteReplayed, unjoined, both(boot6, unjoined), ""},
		{"of SEV-SNP under Azure's paravisor", quoteReplayed, as(poclog.AzureSNPvTPM), both(boot6, as(poclog.AzureSNPvTPM)), "quote-replayed alert"},
		{"of which one says so", quoteReplayed, as(poclog.AzureSNPvTPM), boot6, "quote-replayed alert"},
		{"of which the other says so", quoteReplayed, nil, both(boot6, as(poclog.AzureSNPvTPM)), "quote-replayed alert"},
		{"an instance whose keys' counters do not compare", instanceOnTwoChips, nil, both(chip(ppidB), keys(akTwo), func(e *poclog.Entry) { e.TPM.KeyType, e.TPM.Firmware = "rsa-2048", 8 }), "moved information"},
		{"by two AKs", quoteReplayed, nil, both(boot6, keys(akTwo)), ""},
		{"in one boot", quoteReplayed, nil, nil, ""},
		{"two quotes", quoteReplayed, nil, both(boot6, func(e *poclog.Entry) { e.Quote = "quote:00" }), ""},

		{"an AK on two chips", akOnTwoChips, nil, chip(ppidB), "ak-on-two-chips contradiction"},
		{"without an AK", akOnTwoChips, keys(), both(keys(), chip(ppidB)), ""},
		{"without a chip on one side", akOnTwoChips, chip(""), chip(ppidB), ""},
		{"without a chip on the other", akOnTwoChips, nil, chip(""), ""},
		{"of which one is not joined", akOnTwoChips, unjoined, chip(ppidB), ""},
		{"of which the other is not joined", akOnTwoChips, nil, both(chip(ppidB), unjoined), ""},
		{"two instances without a name", instanceOnTwoChips, func(e *poclog.Entry) { e.Instance = "" }, both(chip(ppidB), func(e *poclog.Entry) { e.Instance = "" }), ""},
		{"an instance on two chips", instanceOnTwoChips, nil, chip(ppidB), "instance-on-two-chips contradiction"},
		{"of level 0", instanceOnTwoChips, nil, both(chip(ppidB), func(e *poclog.Entry) { e.Level = poclog.LevelChip }), ""},
		{"of level 2, and not joined", instanceOnTwoChips, nil, both(chip(ppidB), unjoined), ""},
		{"an EK on two chips", ekOnTwoChips, both(metal), both(as(poclog.BareMetalTDXTPM), chassis(ppidB, ekOne)), "ek-on-two-chips contradiction"},
		{"no EK on two chips", ekOnTwoChips, nil, chip(ppidB), ""},

		{"a PIID of two chips", piidOnTwoPPIDs, chassis(piid, ppidA), chassis(piid, ppidB), "piid-on-two-ppids contradiction"},
		{"a PIID of one and of none", piidOnTwoPPIDs, chassis(piid), chassis(piid, ppidB), ""},
		{"a PIID of none and of one", piidOnTwoPPIDs, chassis(piid, ppidA), chassis(piid), ""},
		{"no PIID of two chips", piidOnTwoPPIDs, nil, chip(ppidB), ""},
		{"a PIID of one, no PIID of the other", piidOnTwoPPIDs, chassis(piid, ppidA), chip(ppidB), ""},
		{"a chip with two FMSPCs", chipStaticChanged, nil, fmspc(2), "chip-static-changed contradiction"},
		{"with two PCEIDs", chipStaticChanged, nil, pceid(2), "chip-static-changed contradiction"},
		{"with no FMSPC on one side", chipStaticChanged, fmspc(), nil, ""},
		{"with no PCEID on one side", chipStaticChanged, pceid(), nil, ""},
		{"with no FMSPC on the other", chipStaticChanged, nil, fmspc(), ""},
		{"two chips with two FMSPCs", chipStaticChanged, nil, both(fmspc(2), chip(ppidB)), ""},
		{"no chips with two FMSPCs", chipStaticChanged, chip(""), both(fmspc(2), chip("")), ""},
		{"a chip of two products", chipStaticChanged, snp("Milan"), snp("Genoa"), "chip-static-changed contradiction"},

		{"a chip in two places", chipInTwoPlaces, nil, place("metal", "", ""), "chip-in-two-places contradiction"},
		{"no chips in two places", chipInTwoPlaces, chip(""), both(chip(""), place("metal", "", "")), ""},
		{"two chips in two places", chipInTwoPlaces, nil, both(chip(ppidB), place("metal", "", "")), ""},
		{"an instance with two AKs", twoAKsForInstance, nil, keys(akTwo), "two-aks-for-instance contradiction"},
		{"an instance with two AKs, of which one is not joined", twoAKsForInstance, nil, both(keys(akTwo), unjoined), ""},
		{"an instance with two AKs, of level 0 and joined", twoAKsForInstance, levelZero, both(keys(akTwo), levelZero), "two-aks-for-instance contradiction"},
		{"of two types", twoAKsForInstance, nil, both(keys(akTwo), func(e *poclog.Entry) { e.TPM.KeyType = "rsa-2048" }), ""},
		{"of which one is no instance", twoAKsForInstance, as(poclog.TDX), keys(akTwo), ""},
		{"of which the other is none", twoAKsForInstance, nil, both(as(poclog.TDX), keys(akTwo)), ""},
		{"of which one has no AK", twoAKsForInstance, nil, keys(), ""},
		{"a machine with two TPMs", twoTPMsOnChassis, metal, both(metal, chassis(ppidA, ekTwo)), "two-tpms-on-chassis contradiction"},
		{"with one", twoTPMsOnChassis, metal, metal, ""},
		{"with none on one side", twoTPMsOnChassis, both(metal, chassis(ppidA)), both(metal, chassis(ppidA, ekTwo)), ""},
		{"with none on the other", twoTPMsOnChassis, metal, both(metal, chassis(ppidA)), ""},
		{"two machines with two TPMs", twoTPMsOnChassis, metal, both(metal, chassis(ppidB, ekTwo)), ""},
		{"no chips with two TPMs", twoTPMsOnChassis, both(metal, chassis(ekOne)), both(metal, chassis(ekTwo)), ""},
		{"VMs with two EKs beside the chip", twoTPMsOnChassis, chassis(ppidA, ekOne), chassis(ppidA, ekTwo), ""},
		{"a machine that is not proven", twoTPMsOnChassis, metal, both(metal, chassis(ppidA, ekTwo), unjoined), ""},

		{"a log that regressed", collateralRegressed, nil, both(late, evaluation(16)), "collateral-regressed contradiction"},
		{"in no time", collateralRegressed, nil, evaluation(16), ""},
		{"not at all", collateralRegressed, nil, late, ""},
		{"on historical evidence before", collateralRegressed, stale, both(late, evaluation(16)), ""},
		{"on historical evidence after", collateralRegressed, nil, both(late, evaluation(16), stale), ""},
		{"without a status before", collateralRegressed, noTCB, both(late, evaluation(16)), ""},
		{"without a status after", collateralRegressed, nil, both(late, noTCB), ""},
		{"without a family", collateralRegressed, fmspc(), both(late, evaluation(16), fmspc()), ""},
		{"of another family", collateralRegressed, nil, both(late, evaluation(16), fmspc(9)), ""},
	} {
		if got := found(t, c.rule, claimed(5, c.e), claimed(9, c.f)); got != c.want {
			t.Errorf("%s: %s: %q, want %q", c.rule.ID, c.name, got, c.want)
		}
	}
}

func TestTPMsAreRewoundInAnOrderThatIsProven(t *testing.T) {
	later := func(c *Claim) *Claim { c.T1, c.T2 = c.T1.Add(time.Hour), c.T2.Add(time.Hour); return c }
	for name, c := range map[string]struct {
		e, f func(e *poclog.Entry)
		want string
	}{
		"fewer resets":             {nil, func(e *poclog.Entry) { e.TPM.ResetCount = 4 }, "tpm-rewound alert"},
		"an earlier clock":         {nil, func(e *poclog.Entry) { e.TPM.Clock = 99 }, "tpm-rewound alert"},
		"the same clock":           {nil, nil, ""},
		"historical before":        {func(e *poclog.Entry) { e.Fresh = nil }, func(e *poclog.Entry) { e.TPM.ResetCount = 4 }, ""},
		"historical after":         {nil, func(e *poclog.Entry) { e.TPM.ResetCount, e.Fresh = 4, nil }, ""},
		"without AKs":              {func(e *poclog.Entry) { e.Keys = nil }, func(e *poclog.Entry) { e.TPM.ResetCount, e.Keys = 4, nil }, ""},
		"of another key":           {nil, func(e *poclog.Entry) { e.TPM.ResetCount, e.Keys = 4, []poclog.Identity{akTwo} }, ""},
		"a restart fewer":          {func(e *poclog.Entry) { e.TPM.RestartCount = 1 }, nil, "tpm-rewound alert"},
		"a restart more":           {nil, func(e *poclog.Entry) { e.TPM.RestartCount = 1 }, ""},
		"a clock that is not sure": {nil, func(e *poclog.Entry) { e.TPM.Clock, e.TPM.Safe = 99, false }, ""},
	} {
		if got := found(t, tpmRewound, claimed(5, c.e), later(claimed(9, c.f))); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	if facetsOf(&tpmRewound, claimed(1, func(e *poclog.Entry) { e.TPM = nil })) != nil || facetsOf(&tpmRewound, claimed(1, func(e *poclog.Entry) { e.Fresh = nil })) != nil || facetsOf(&tpmRewound, claimed(1, func(e *poclog.Entry) { e.Keys = nil })) != nil {
		t.Error("facets without a time or a key")
	}
	strange := func(e *poclog.Entry) {
		e.Chassis, e.Keys, e.TPM.ResetCount, e.TPM.KeyType, e.TPM.Firmware = []poclog.Identity{ppidB}, []poclog.Identity{akTwo}, 4, "rsa-2048", 8
	}
	if got := found(t, instanceOnTwoChips, claimed(5, nil), later(claimed(9, strange))); got != "moved information" {
		t.Errorf("counters that do not compare: %q", got)
	}
	// In two boots on two chips the later evidence is of the earlier boot: whichever of them that
	// is.
	moved := func(e *poclog.Entry) { e.Chassis = []poclog.Identity{ppidB} }
	back := func(e *poclog.Entry) { e.Chassis, e.TPM.ResetCount = []poclog.Identity{ppidB}, 4 }
	on := func(e *poclog.Entry) { e.Chassis, e.TPM.ResetCount = []poclog.Identity{ppidB}, 6 }
	for name, c := range map[string]struct {
		e, f *Claim
		want string
	}{
		"at once":                       {claimed(5, nil), claimed(9, moved), "ak-on-two-chips contradiction"},
		"to an earlier boot, later":     {claimed(5, nil), later(claimed(9, back)), "ak-on-two-chips alert"},
		"to an earlier boot, logged 1":  {later(claimed(5, back)), claimed(9, nil), "ak-on-two-chips alert"},
		"to a later boot, later":        {claimed(5, nil), later(claimed(9, on)), "moved information"},
		"to a later boot, logged 1":     {later(claimed(5, on)), claimed(9, nil), "moved information"},
		"to an earlier boot, who knows": {claimed(5, nil), claimed(9, back), "moved information"},
	} {
		if got := found(t, akOnTwoChips, c.e, c.f); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestKeysOfOneTPM(t *testing.T) {
	type edit = func(e *poclog.Entry)
	azure, snp := func(e *poclog.Entry) { e.Profile = poclog.AzureTDXvTPM }, func(e *poclog.Entry) { e.Profile = poclog.AzureSNPvTPM }
	second := func(e *poclog.Entry) { e.Keys, e.TPM.KeyType = []poclog.Identity{akTwo}, "rsa-2048" }
	for name, c := range map[string]struct {
		e, f edit
		one  bool
	}{
		"one key":                      {nil, nil, true},
		"two types of an instance":     {nil, second, true},
		"two of a type":                {nil, func(e *poclog.Entry) { e.Keys = []poclog.Identity{akTwo} }, false},
		"two of a type, on bare metal": {func(e *poclog.Entry) { e.Profile = poclog.BareMetalTDXTPM }, func(e *poclog.Entry) { e.Profile, e.Keys = poclog.BareMetalTDXTPM, []poclog.Identity{akTwo} }, true},
		"of a machine and of a VM":     {func(e *poclog.Entry) { e.Profile = poclog.BareMetalTDXTPM }, func(e *poclog.Entry) { e.Keys = []poclog.Identity{akTwo} }, false},
		"of a VM and of a machine":     {nil, func(e *poclog.Entry) { e.Profile, e.Keys = poclog.BareMetalTDXTPM, []poclog.Identity{akTwo} }, false},
		"of other firmware":            {nil, func(e *poclog.Entry) { second(e); e.TPM.Firmware = 8 }, false},
		"one key of other firmware":    {nil, func(e *poclog.Entry) { e.TPM.Firmware = 8 }, true},
		"Azure's first":                {azure, second, false},
		"Azure's second":               {nil, func(e *poclog.Entry) { second(e); azure(e) }, false},
		"Azure's, of SEV-SNP":          {snp, second, false},
		"one key of Azure's":           {azure, azure, true},
	} {
		if got := oneTPM(claimed(1, c.e).Entry, claimed(2, c.f).Entry); got != c.one {
			t.Errorf("%s: %t", name, got)
		}
	}
	e, f := claimed(1, nil).Entry, claimed(2, func(e *poclog.Entry) { e.Keys, e.TPM.Firmware = []poclog.Identity{akOne}, 8 }).Entry
	if !sameCounters(e, f) {
		t.Error("the counters of one key do not compare")
	}
	for _, c := range []struct {
		subject poclog.Identity
		e, f    edit
		want    []string
	}{
		{"", nil, nil, []string{string(akOne)}},
		{e.Instance, nil, second, []string{string(e.Instance)}},
		{ekOne, nil, second, nil},
		{ekOne, func(e *poclog.Entry) { e.Keys = nil }, func(e *poclog.Entry) { e.Keys = nil }, nil},
	} {
		if got := signers(c.subject, claimed(1, c.e).Entry, claimed(2, c.f).Entry); !slices.Equal(got, c.want) {
			t.Errorf("%v", got)
		}
	}
	if got := without([]poclog.Identity{akOne, akTwo, ekOne}, []string{string(akOne), string(ekOne)}); !slices.Equal(got, []poclog.Identity{akTwo}) {
		t.Errorf("%v", got)
	}
}

func TestPlacesDifferWhereBothSay(t *testing.T) {
	for _, c := range []struct {
		a, b    where
		differs bool
	}{
		{where{}, where{}, false},
		{where{"p", "", ""}, where{"p", "", ""}, false},
		{where{"p", "", ""}, where{"q", "", ""}, true},
		{where{"p", "r", "z"}, where{"", "s", "y"}, false},
		{where{"", "r", "z"}, where{"", "s", "y"}, false}, // names of nobody's regions and zones
		{where{"p", "r", "z"}, where{"p", "s", ""}, true},
		{where{"p", "r", ""}, where{"p", "s", ""}, true},
		{where{"p", "", ""}, where{"p", "s", ""}, false},
		{where{"p", "r", ""}, where{"p", "r", ""}, false},
		{where{"p", "", "z"}, where{"p", "", "y"}, true},
		{where{"p", "", "z"}, where{"p", "", ""}, false},
		{where{"p", "", "z"}, where{"p", "", "z"}, false},
		{where{"p", "r", "z"}, where{"p", "r", "y"}, true},
	} {
		if c.a.differs(c.b) != c.differs || c.b.differs(c.a) != c.differs {
			t.Errorf("%v and %v: want %t", c.a, c.b, c.differs)
		}
	}
	for name, edit := range map[string]func(e *poclog.Entry){
		"another profile":    func(e *poclog.Entry) { e.Profile = poclog.TDX },
		"another instance":   func(e *poclog.Entry) { e.Instance = "azure:vm:0f8fad5b-d9cb-469f-a165-70867728950e" },
		"no TPM":             func(e *poclog.Entry) { e.TPM = nil },
		"no AK":              func(e *poclog.Entry) { e.Keys = nil },
		"no instance at all": func(e *poclog.Entry) { e.Instance = "" },
	} {
		if gceInstance(claimed(1, edit).Entry) {
			t.Errorf("%s: an instance of Compute Engine", name)
		}
	}
	if !gceInstance(claimed(1, nil).Entry) {
		t.Error("no instance of Compute Engine")
	}
}

func TestTimesBetweenClaims(t *testing.T) {
	at := func(t1, t2 time.Duration) *Claim {
		c := claimed(1, nil)
		if c.T1, c.T2 = noon.Add(t1), noon.Add(t2); t1 < 0 {
			c.T1 = time.Time{}
		}
		if t2 < 0 {
			c.T2 = time.Time{}
		}
		return c
	}
	const s, m = time.Second, time.Minute
	for _, c := range []struct {
		e, f                  *Claim
		before, within, apart bool // the last two by an hour
	}{
		{at(0, m), at(m+m, 3*m), false, true, false},
		{at(0, m), at(m+m+s, 3*m), true, true, false},
		{at(0, m), at(58*m, 59*m), true, false, false},
		{at(0, m), at(58*m, 59*m-s), true, true, false},
		{at(0, m), at(61*m, 62*m), true, false, true},
		{at(0, m), at(61*m-s, 62*m), true, false, false},
		{at(0, -1), at(61*m, 62*m), false, false, false},
		{at(0, m), at(-1, 62*m), false, false, false},
		{at(-1, m), at(61*m, 62*m), true, false, true},
		{at(0, m), at(61*m, -1), true, false, true},
	} {
		if Before(c.e, c.f) != c.before || within(c.e, c.f, time.Hour) != c.within || within(c.f, c.e, time.Hour) != c.within || apart(c.e, c.f, time.Hour) != c.apart || apart(c.f, c.e, time.Hour) != c.apart {
			t.Errorf("%s to %s, %s to %s: %t, %t, %t", c.e.T1, c.e.T2, c.f.T1, c.f.T2, Before(c.e, c.f), within(c.e, c.f, time.Hour), apart(c.e, c.f, time.Hour))
		}
	}
	// A tree that holds the entry orders, without any clock; one that ends before it does not.
	e, f := at(-1, -1), at(-1, -1)
	f.Rooted, f.Entry.Fresh = true, &poclog.Fresh{Origin: "a.test", Size: 2}
	if !Before(e, f) {
		t.Error("a challenge whose tree has the entry")
	}
	f.Entry.Fresh.Size = 1
	if Before(e, f) {
		t.Error("a challenge whose tree ends before the entry")
	}
	f.Entry.Fresh = &poclog.Fresh{Origin: "b.test", Size: 2}
	if Before(e, f) {
		t.Error("a challenge of another log")
	}
	// Where the tree and the times disagree, neither was first.
	e, f = at(90*m, 91*m), at(0, m)
	f.Rooted, f.Entry.Fresh = true, &poclog.Fresh{Origin: "a.test", Size: 2}
	if Before(e, f) || Before(f, e) {
		t.Error("a tree against all clocks orders")
	}
	// An interval is the log's own, where both ends are known.
	alone := func(t1, t2, appraised time.Duration) bool {
		c := at(t1, t2)
		c.Entry.Appraised = noon.Add(appraised)
		return intervalInverted.Alone(c) != nil
	}
	for _, c := range []struct {
		t1, t2, at time.Duration
		want       bool
	}{
		{2 * m, m, 90 * s, false}, {2*m + s, m, 90 * s, true}, {-1, m, m, false}, {2 * m, -1, 2 * m, false}, {-1, -1, 0, false},
		{2 * m, -1, m, false}, {2 * m, -1, m - s, true}, {-1, m, 2 * m, false}, {-1, m, 2*m + s, true},
	} {
		if alone(c.t1, c.t2, c.at) != c.want {
			t.Errorf("%s to %s, appraised %s: want %t", c.t1, c.t2, c.at, c.want)
		}
	}
	if facetsOf(&collateralRegressed, claimed(1, func(e *poclog.Entry) { e.Fresh = nil })) != nil ||
		facetsOf(&collateralRegressed, claimed(1, func(e *poclog.Entry) { e.CVM.TCB = nil })) != nil || len(facetsOf(&collateralRegressed, claimed(1, nil))) != 1 {
		t.Error("facets of what cannot regress")
	}
}

// What is not bound is not even a candidate: else entries that name a victim, and prove nothing,
// fill the few classes that later claims are compared with.
func TestFacetsAreOfWhatIsBound(t *testing.T) {
	whole := func() *View {
		return &View{
			Joined: true, Proven: true, Fresh: true, Metal: true, GCE: true, Chip: []byte("chip"), EK: []byte("ek"), AK: []byte("ak"), KeyType: []byte("type"),
			Instance: []byte("instance"), Quote: []byte("quote"), Boot: []byte("boot"), Stories: []Story{{[]byte("of"), [2][]byte{[]byte("told")}}},
		}
	}
	joined := func(v *View) { v.Joined = false }
	proven := func(v *View) { v.Proven = false }
	for _, c := range []struct {
		rule    Rule
		without []func(*View)
	}{
		{quoteReplayed, []func(*View){joined}},
		{akOnTwoChips, []func(*View){joined}},
		{ekOnTwoChips, []func(*View){proven}},
		{instanceOnTwoChips, []func(*View){proven}},
		{twoAKsForInstance, []func(*View){joined, func(v *View) { v.GCE = false }}},
		{twoTPMsOnChassis, []func(*View){proven, func(v *View) { v.Metal = false }}},
		{bootForked, []func(*View){joined}},
		{tpmRewound, []func(*View){joined, func(v *View) { v.Fresh = false }, func(v *View) { v.AK = nil }}},
	} {
		put := func(v *View) (n int) {
			c.rule.Facets(v, func(Facet) { n++ })
			return n
		}
		if put(whole()) == 0 {
			t.Errorf("%s: no facets", c.rule.ID)
		}
		for i, without := range c.without {
			v := whole()
			without(v)
			if n := put(v); n != 0 {
				t.Errorf("%s: %d facets without condition %d", c.rule.ID, n, i)
			}
		}
	}
}

func TestSmallThings(t *testing.T) {
	put := 0
	each(func(Facet) { put++ }, facetOf(nil, []byte("v")), facetOf([]byte("k"), nil), facetOf([]byte("k"), []byte("v")))
	if put != 1 {
		t.Errorf("%d facets: want one, the one with key and value", put)
	}
	if got := ids(akTwo, "", akOne, akTwo); !slices.Equal(got, []poclog.Identity{akOne, akTwo}) {
		t.Errorf("%v", got)
	}
	e, f := claimed(5, nil), claimed(5, nil)
	f.Origin = "b.test"
	e.Index = 9
	if a, b := ordered(f, e); a != e || b != f {
		t.Error("the log's name comes before the number")
	}
	if a, b := ordered(e, f); a != e || b != f {
		t.Error("two logs in order")
	}
	g, h := claimed(5, nil), claimed(5, nil)
	if a, b := ordered(g, h); a != g || b != h {
		t.Error("two of one number change their places")
	}
	if a := older(&poclog.TPM{}, &poclog.TPM{}); a {
		t.Error("one boot is behind itself")
	}
	n := NotReproducible("a.test", 7, e.Entry, "why")
	if !slices.Contains(n.Affected, ppidA) || len(NotReproducible("a.test", 7, nil, "why").Affected) > 0 {
		t.Errorf("%+v", n)
	}
	// Entries of one number in two logs are two.
	other := claimed(5, chip(ppidB))
	other.Origin = "b.test"
	if got := found(t, akOnTwoChips, claimed(5, nil), other); got != "ak-on-two-chips contradiction" {
		t.Errorf("one number in two logs: %q", got)
	}
	// What moved is said once, whatever else is found.
	two := claimed(9, func(e *poclog.Entry) { e.Chassis, e.TPM.ResetCount, e.Quote = []poclog.Identity{ppidB}, 6, "quote:00" })
	two.T1, two.T2 = noon.Add(time.Hour), noon.Add(2*time.Hour)
	var all []string
	for _, x := range Compare(claimed(5, nil), two) {
		all = append(all, x.Rule)
	}
	if strings.Join(all, " ") != Moved {
		t.Errorf("%v", all)
	}
	two.Entry.Keys = []poclog.Identity{akTwo}
	all = nil
	for _, x := range Compare(claimed(5, nil), two) {
		all = append(all, x.Rule)
	}
	if strings.Join(all, " ") != "moved two-aks-for-instance" {
		t.Errorf("%v", all)
	}
}

func facetsOf(r *Rule, c *Claim) (list []Facet) {
	r.Facets(c.View(), func(f Facet) { list = append(list, f) })
	return list
}

// recorded is a rule that notes what is compared with what.
func recorded(rising bool, values map[uint64]string, pairs *[]string) *Rule {
	return &Rule{
		ID: "recorded", Rising: rising,
		Facets: func(v *View, put func(Facet)) {
			value := values[v.Evaluation]
			f := facetOf([]byte("key"), []byte(value))
			if rising {
				f.Rank = uint64(value[0] - '0')
			}
			put(f)
		},
		Check: func(e, f *Claim, _ Limits) *Finding {
			*pairs = append(*pairs, fmt.Sprintf("%d-%d", e.Index, f.Index))
			return nil
		},
	}
}

// Across compares each claim with its neighbour and with the first of each other value; where
// values rise, with the two greatest.
func TestAcrossComparesWhatCanDiffer(t *testing.T) {
	run := func(rising bool, values ...string) string {
		byIndex, pairs := make(map[uint64]string), []string(nil)
		var claims []*Claim
		c := newComparison(recorded(rising, byIndex, &pairs), Limits{}, func(at int) *Claim { return claims[at] })
		for i, v := range values {
			byIndex[uint64(i)] = v
			claims = append(claims, claimed(uint64(i), nil))
			s := claims[i].Sight(i)
			c.take(&View{Evaluation: uint64(i)}, &s)
		}
		return strings.Join(pairs, " ")
	}
	for _, c := range []struct {
		rising bool
		values string
		want   string
	}{
		{false, "A", ""}, {false, "AAA", ""}, {false, "AB", "0-1 0-1"}, {false, "ABA", "0-1 0-1 1-2 1-2"}, {false, "ABC", "0-1 0-1 1-2 0-2 1-2"},
		{false, "ABBC", "0-1 0-1 0-2 2-3 0-3 1-3"},
		{true, "1", ""}, {true, "12", "0-1"}, {true, "123", "0-1 1-2 0-2"}, {true, "121", "0-1 1-2 0-2"}, {true, "312", "0-1 0-2 1-2"}, {true, "3123", "0-1 0-2 1-2 0-3 2-3"}, {true, "1324", "0-1 1-2 0-2 1-3 2-3"},
		{true, "112", "0-1 0-2 1-2"}, {true, "01", "0-1"}, {true, "010", "0-1 1-2 0-2"}, {true, "101", "0-1 0-2 1-2"}, {true, "3112", "0-1 0-2 1-2 0-3 1-3"}, {false, "ABAC", "0-1 0-1 1-2 1-2 2-3 0-3 1-3"},
	} {
		if got := run(c.rising, strings.Split(c.values, "")...); got != c.want {
			t.Errorf("rising %t, %s: %s: want %s", c.rising, c.values, got, c.want)
		}
	}
	// So many values have a first that is compared with; the others are compared with their
	// neighbours.
	var many []string
	for i := range maxFirsts + 2 {
		many = append(many, fmt.Sprintf("%02d", i))
	}
	pairs := strings.Fields(run(false, many...))
	last := fmt.Sprint(maxFirsts + 1)
	if n := len(slices.DeleteFunc(pairs, func(p string) bool { return !strings.HasSuffix(p, "-"+last) })); n != 1+maxFirsts {
		t.Errorf("the last claim is compared %d times: want %d", n, 1+maxFirsts)
	}
	f := finder{seen: make(map[string]bool)}
	f.add(nil)
	f.add(&Finding{Rule: "a"})
	f.add(&Finding{Rule: "a"})
	f.add(&Finding{Rule: "a", Subject: akOne})
	if len(f.found) != 2 {
		t.Errorf("%d findings", len(f.found))
	}
	// Of two realms nothing is compared.
	lab := claimed(9, func(e *poclog.Entry) { e.Realm, e.Chassis = poclog.Lab, []poclog.Identity{ppidB} })
	if found := (Limits{}).Across([]*Claim{lab, claimed(5, nil)}); len(found) != 0 {
		t.Errorf("%+v", found[0])
	}
	if found := (Limits{}).Across([]*Claim{claimed(9, chip(ppidB)), claimed(5, nil)}); len(found) != 2 {
		t.Errorf("%d findings", len(found))
	}
}

// What a rising rule does not compare, it would find nothing in: for every two of many claims.
func TestWhatCannotFallIsNotCompared(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var claims []*Claim
	for i := range 300 {
		c := claimed(uint64(i), func(e *poclog.Entry) {
			e.TPM.ResetCount, e.TPM.Clock, e.TPM.Safe = r.Uint32N(3), r.Uint64N(3), r.IntN(2) == 0
			e.CVM.TCB.Evaluation, e.Appraised = 17+r.Uint32N(3), noon.Add(time.Duration(r.IntN(9))*time.Minute)
			e.Fresh.Size = r.Uint64N(400)
		})
		c.T1, c.T2, c.Rooted = time.Time{}, time.Time{}, false
		switch r.IntN(3) {
		case 0:
			c.T1 = noon.Add(time.Duration(r.IntN(9)) * time.Minute)
			c.T2 = c.T1.Add(time.Second)
		case 1:
			c.Rooted = true
		}
		claims = append(claims, c)
	}
	compared, found, passed := 0, 0, 0
	for _, rule := range []*Rule{&tpmRewound, &collateralRegressed} {
		c := newComparison(rule, Limits{}, nil)
		for i, e := range claims {
			for _, f := range claims[i+1:] {
				fell := rule.Run(e, f, Limits{}) != nil
				one, two := facetsOf(rule, e), facetsOf(rule, f)
				for j := range min(len(one), len(two)) {
					o, me := e.Sight(0), f.Sight(1)
					o.Dated, me.Dated = dated(e), dated(f)
					compared++
					if fell {
						found++
					}
					if c.mayFall(&class{rank: one[j].Rank, first: &o}, &class{rank: two[j].Rank, first: &me}) {
						continue
					}
					if passed++; fell {
						t.Fatalf("%s: not compared: %+v, %+v", rule.ID, e, f)
					}
				}
			}
		}
	}
	if found < 1000 || passed < 1000 {
		t.Errorf("of %d pairs %d fall and %d are not compared: the claims do not try it", compared, found, passed)
	}
}

func dated(c *Claim) bool { return !c.T1.IsZero() || !c.T2.IsZero() || c.Rooted }
