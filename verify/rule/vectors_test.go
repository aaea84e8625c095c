package rule_test

import (
	"bytes"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/vectors"
	"github.com/poclog/poclog/verify/rule"
)

// A ruleVector is entries where they stand, and what the rules find among them under the default
// limits.
type ruleVector struct {
	Desc   string          `json:"desc"`
	Rule   string          `json:"rule"` // that is tried; another may find something, too
	Claims []vectorClaim   `json:"claims"`
	Expect []vectorFinding `json:"expect"`
}

type vectorClaim struct {
	Origin string     `json:"origin"`
	Number string     `json:"number"`
	Leaf   string     `json:"leaf"`
	T1     *time.Time `json:"t1,omitempty"` // left out where it is unknown
	T2     *time.Time `json:"t2,omitempty"`
	Rooted bool       `json:"rooted"` // the challenge's tree is known to be of the log's history
}

type vectorFinding struct {
	Severity   rule.Severity   `json:"severity"`
	Rule       string          `json:"rule"`
	Subject    poclog.Identity `json:"subject,omitempty"`
	Implicated []string        `json:"implicated,omitempty"`
}

const vectorDir = "../../testdata/rules"

func (v *ruleVector) claims(t *testing.T) []*rule.Claim {
	t.Helper()
	var all []*rule.Claim
	for _, c := range v.Claims {
		number, err := strconv.ParseUint(c.Number, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		e, err := poclog.ParseEntry([]byte(c.Leaf))
		if err != nil {
			t.Fatal(err)
		}
		claim := &rule.Claim{Origin: c.Origin, Index: number, Entry: e, Rooted: c.Rooted}
		if c.T1 != nil {
			claim.T1 = *c.T1
		}
		if c.T2 != nil {
			claim.T2 = *c.T2
		}
		all = append(all, claim)
	}
	return all
}

func findingsOf(claims []*rule.Claim) []vectorFinding {
	out := []vectorFinding{}
	for _, f := range (rule.Limits{}).Across(claims) {
		out = append(out, vectorFinding{f.Severity, f.Rule, f.Subject, f.Implicated})
	}
	return out
}

// complete gives an entry of the tests what every leaf has.
func complete(c *rule.Claim) {
	e := c.Entry
	e.Appraisal, e.Evidence = 1, poclog.EvidenceDigests{Bundle: poclog.BlobOf([]byte("bundle")), Policy: poclog.BlobOf([]byte("policy"))}
	isSNP := e.Profile == poclog.SNP || e.Profile == poclog.AzureSNPvTPM
	if isSNP {
		report := poclog.SNPReport{Product: "Genoa", Signer: "vcek"}
		if s := e.CVM.SNP; s != nil {
			report.Product = s.Product
			if s.Signer != "" {
				report.Signer = s.Signer
			}
		}
		e.CVM = poclog.CVM{Technology: "snp", Measurement: e.CVM.Measurement, SNP: &report}
	}
	e.Chassis = slices.DeleteFunc(slices.Clone(e.Chassis), func(id poclog.Identity) bool { return isSNP && strings.HasPrefix(string(id), "intel:") })
	slices.Sort(e.Chassis)
	slices.Sort(e.Keys)
	if e.TPM != nil {
		boot := poclog.Sum([]byte("boot"))
		e.Boot = &boot
		if len(e.TPM.PCRDigest) == 0 {
			e.TPM.PCRDigest = []byte{1}
		}
	}
	if e.CVM.TCB != nil {
		e.CVM.TCB.Date = at(0)
	}
}

// limitCases are pairs at a threshold and one second beyond it, and counters half the way around.
func limitCases() []pairCase {
	const day = 24 * hour
	times := func(t1, t2 time.Duration) change {
		return func(c *rule.Claim) { c.T1, c.T2, c.Entry.Appraised = at(t1), at(t2), at(t1) }
	}
	other, swapped := []change{zone("us-east1-b"), by(akB)}, []change{by(akB), ek(ekB)}
	with := func(list []change, c ...change) []change { return append(slices.Clone(list), c...) }
	appraisedAt := func(d time.Duration) change { return entry(func(e *poclog.Entry) { e.Appraised = at(d) }) }
	metal, gce := poclog.BareMetalTDXTPM, poclog.GCETDXvTPM
	return []pairCase{
		{"chip-in-two-places", "a second less than the move time, with the skew", gce, []change{times(0, hour)}, with(other, times(hour, day-61*time.Second))},
		{"chip-in-two-places", "the move time, with the skew", gce, []change{times(0, hour)}, with(other, times(hour, day-60*time.Second))},
		{"chip-in-two-places", "apart by a second less than the move time", gce, []change{times(0, hour)}, with(other, times(day+hour-time.Second, day+2*hour))},
		{"chip-in-two-places", "apart by the move time", gce, []change{times(0, hour)}, with(other, times(day+hour, day+2*hour))},
		{"two-tpms-on-chassis", "a second less than the swap time, with the skew", metal, []change{times(0, 60*time.Second)}, with(swapped, times(0, hour-61*time.Second))},
		{"two-tpms-on-chassis", "the swap time, with the skew", metal, []change{times(0, 60*time.Second)}, with(swapped, times(0, hour-60*time.Second))},
		{"two-tpms-on-chassis", "apart by a second less than the swap time", metal, []change{times(0, time.Minute)}, with(swapped, times(hour+59*time.Second, 2*hour))},
		{"two-tpms-on-chassis", "apart by the swap time", metal, []change{times(0, time.Minute)}, with(swapped, times(hour+60*time.Second, 2*hour))},
		{"tpm-rewound", "made over a minute after the other was logged", gce, []change{times(0, 10*time.Second)}, []change{in(4, 0), times(71*time.Second, 80*time.Second)}},
		{"tpm-rewound", "made a minute after the other was logged: clocks may differ so much", gce, []change{times(0, 10*time.Second)}, []change{in(4, 0), times(70*time.Second, 80*time.Second)}},
		{"tpm-rewound", "times of one order and the tree of the other", gce, []change{times(0, 10*time.Second), func(c *rule.Claim) { c.Entry.Fresh.Size = 10 }}, []change{in(4, 0), times(hour, 2*hour)}},
		{"tpm-rewound", "a tree that ends before the other entry", gce, []change{times(0, 10*time.Second)}, []change{in(4, 0), times(time.Second, 20*time.Second), func(c *rule.Claim) { c.Entry.Fresh.Size = 5 }}},
		{"tpm-rewound", "a tree that ends with the other entry", gce, []change{times(0, 10*time.Second)}, []change{in(4, 0), times(time.Second, 20*time.Second), afterE}},
		{"tpm-rewound", "the greatest step back that counters show", gce, []change{in(1<<31-1, 0)}, []change{in(0, 0)}},
		{"tpm-rewound", "half the way around: neither is behind the other", gce, []change{in(1<<31, 0)}, []change{in(0, 0)}},
		{"tpm-rewound", "restarts half the way around", gce, []change{in(5, 1<<31)}, []change{in(5, 0)}},
		{"tpm-rewound", "a clock that stands still", gce, []change{clock(10, true)}, []change{clock(10, true)}},
		{"tpm-rewound", "a clock that is safe in the earlier entry alone", gce, []change{clock(10, true)}, []change{clock(9, false)}},
		{"tpm-rewound", "a clock that is safe in the later entry alone", gce, []change{clock(10, false)}, []change{clock(9, true)}},
		{"ak-on-two-chips", "an earlier boot by the least that counters show", gce, []change{times(0, time.Second)}, []change{on(chipY), in(4, 0), times(hour, 2*hour)}},
		{"ak-on-two-chips", "half the way around: neither boot is the earlier", gce, []change{times(0, time.Second), in(1<<31+5, 0)}, []change{on(chipY), times(hour, 2*hour)}},
		{"collateral-regressed", "judged a minute later: two admissions at once", gce, []change{times(0, time.Minute)}, []change{evaluation(16), times(time.Minute, 2*time.Minute)}},
		{"collateral-regressed", "judged over a minute later", gce, []change{times(0, time.Minute)}, []change{evaluation(16), times(61*time.Second, 2*time.Minute)}},
		{"interval-inverted", "t1 a minute after t2: clocks may differ so much", gce, []change{times(70*time.Second, 10*time.Second)}, nil},
		{"interval-inverted", "t1 over a minute after t2", gce, []change{times(71*time.Second, 10*time.Second), appraisedAt(40 * time.Second)}, nil},
		{"interval-inverted", "appraised a minute before t1", gce, []change{appraisedAt(-60 * time.Second)}, nil},
		{"interval-inverted", "appraised over a minute before t1", gce, []change{appraisedAt(-61 * time.Second)}, nil},
		{"interval-inverted", "appraised a minute after t2", gce, []change{appraisedAt(120 * time.Second)}, nil},
		{"interval-inverted", "appraised over a minute after t2", gce, []change{appraisedAt(121 * time.Second)}, nil},
		{"interval-inverted", "appraised long before t1, which is unknown", gce, []change{func(c *rule.Claim) { c.T1 = time.Time{} }, appraisedAt(-hour)}, nil},
		{"interval-inverted", "appraised long after t2, which is unknown", gce, []change{func(c *rule.Claim) { c.T2 = time.Time{} }, appraisedAt(hour)}, nil},
		{"interval-inverted", "historical", gce, []change{historical, appraisedAt(hour)}, nil},
	}
}

// A pairCase is two entries, or one where f is nil.
type pairCase struct {
	rule, name string
	profile    poclog.Profile
	e, f       []change
}

func (c *pairCase) claims(apart time.Duration) []*rule.Claim {
	e := proof(c.profile, 0)
	for _, change := range c.e {
		change(e)
	}
	if c.f == nil {
		return []*rule.Claim{e}
	}
	f := proof(c.profile, apart)
	f.Index = 9
	for _, change := range c.f {
		change(f)
	}
	return []*rule.Claim{e, f}
}

// manyCases are lists of more than two entries: which of them are compared.
func manyCases() map[string]ruleVector {
	list := func(n int, change func(i int, c *rule.Claim)) []*rule.Claim {
		var all []*rule.Claim
		for i := range n {
			c := proof(poclog.GCETDXvTPM, time.Duration(i)*2*hour)
			c.Index = uint64(10 + i)
			c.Entry.Quote = poclog.Identity("quote:" + poclog.Sum([]byte{byte(i)}).String())
			change(i, c)
			all = append(all, c)
		}
		return all
	}
	// Boots 1 to n answer different challenges with one quote; the last has the extra data of one.
	replayed := func(n, same int) []*rule.Claim {
		return list(n, func(i int, c *rule.Claim) {
			c.Entry.Quote = quoteP
			in(uint32(i), 0)(c)
			c.Entry.TPM.ExtraData = []byte{byte(1 + i)}
			if i == n-1 {
				c.Entry.TPM.ExtraData = []byte{byte(1 + same)}
			}
		})
	}
	boots := func(resets ...uint32) []*rule.Claim {
		return list(len(resets), func(i int, c *rule.Claim) { in(resets[i], 0)(c) })
	}
	out := make(map[string]ruleVector)
	add := func(name, id, desc string, claims []*rule.Claim) { out[name] = vectorOf(id, desc, claims) }
	add("many-first-of-16", "quote-replayed", "the last of 18 values contradicts the 16th, whose first entry is kept", replayed(18, 15))
	add("many-first-of-17", "quote-replayed", "the last of 19 values contradicts the 17th, whose first entry is not kept", replayed(19, 16))
	add("many-neighbour", "quote-replayed", "the last of 19 values contradicts the one before it", replayed(19, 17))
	add("many-subjects", "chip-static-changed", "two chips that changed: a finding of each", list(4, func(i int, c *rule.Claim) {
		on([]poclog.Identity{chipX, chipY}[i%2])(c)
		by([]poclog.Identity{akA, akB}[i%2])(c)
		c.Entry.Instance = []poclog.Identity{vm1, vm2}[i%2]
		if i > 1 {
			c.Entry.CVM.FMSPC = []byte{6, 5, 4, 3, 2, 1}
		}
	}))
	add("many-severities", "chip-in-two-places", "three places of one chip: a finding of each severity", list(3, func(i int, c *rule.Claim) {
		zone([]string{"us-central1-a", "us-east1-b", "us-west1-a"}[i])(c)
		c.Entry.Keys, c.Entry.Instance = []poclog.Identity{poclog.Identity("tpm:ak:" + hexes("5"+strconv.Itoa(i), 32))}, poclog.GCEInstanceIdentity(2, uint64(1+i))
		c.T1, c.T2 = at([]time.Duration{0, time.Hour, 40 * time.Hour}[i]), at([]time.Duration{time.Hour, 2 * time.Hour, 41 * time.Hour}[i])
		c.Entry.Appraised = c.T1
		if i == 0 {
			c.T2 = at(20 * time.Hour)
		}
	}))
	add("many-rewound-to-the-greatest", "tpm-rewound", "boots 5, 7, 6: the last is older than the greatest before it", boots(5, 7, 6))
	add("many-rewound-second-greatest", "tpm-rewound", "the greatest is of one time with the last; the second greatest is certainly earlier", func() []*rule.Claim {
		all := boots(6, 7, 5)
		all[1].T1, all[1].T2, all[1].Entry.Appraised = all[2].T1, all[2].T2, all[2].Entry.Appraised
		return all
	}())
	add("many-rewound-third-greatest", "tpm-rewound", "only the third greatest is certainly earlier: it is no longer compared", func() []*rule.Claim {
		all := boots(6, 7, 8, 5)
		for _, c := range all[1:3] {
			c.T1, c.T2, c.Entry.Appraised = all[3].T1, all[3].T2, all[3].Entry.Appraised
		}
		return all
	}())
	add("many-of-two-logs", "ak-on-two-chips", "entries of two logs, which are compared by origin and number", list(3, func(i int, c *rule.Claim) {
		c.Origin = []string{"b.test", "a.test", "b.test"}[i]
		c.Entry.Fresh.Origin = c.Origin
		if i > 0 {
			on(chipY)(c)
		}
	}))
	add("many-moved", "ak-on-two-chips", "a VM that moved: it is found once for its AK and once for its instance", list(3, func(i int, c *rule.Claim) {
		in(uint32(5+i), 0)(c)
		if i == 1 {
			on(chipY)(c)
		}
	}))
	return out
}

func vectorOf(id, desc string, claims []*rule.Claim) ruleVector {
	v := ruleVector{Desc: desc, Rule: id}
	for _, c := range claims {
		complete(c)
		leaf, err := c.Entry.Marshal()
		if err != nil {
			panic(id + ": " + desc + ": " + err.Error())
		}
		out := vectorClaim{Origin: c.Origin, Number: strconv.FormatUint(c.Index, 10), Leaf: string(leaf), Rooted: c.Rooted}
		if !c.T1.IsZero() {
			out.T1 = &c.T1
		}
		if !c.T2.IsZero() {
			out.T2 = &c.T2
		}
		v.Claims = append(v.Claims, out)
	}
	v.Expect = findingsOf(claims)
	return v
}

// slug is a file's name.
func slug(name string) string {
	words := strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') })
	return strings.Join(words, "-")
}

func makeRuleVectors(t *testing.T) map[string]ruleVector {
	t.Helper()
	all := manyCases()
	add := func(c *pairCase, apart time.Duration) {
		name := c.rule + "." + slug(c.name)
		if _, twice := all[name]; twice {
			t.Fatalf("two vectors %s", name)
		}
		claims := c.claims(apart)
		if c.rule != "quote-replayed" { // else that rule would find something, too
			claims[len(claims)-1].Entry.Quote = quoteQ
		}
		all[name] = vectorOf(c.rule, c.name, claims)
	}
	for _, c := range cases {
		f := c.f
		if f == nil {
			f = []change{}
		}
		add(&pairCase{c.rule, c.name, c.profile, c.e, f}, c.apart)
	}
	for _, c := range limitCases() {
		add(&c, time.Hour)
	}
	return all
}

// TestRuleVectors holds the rules to testdata/rules: each rule has hits and near misses.
func TestRuleVectors(t *testing.T) {
	if vectors.Updating() {
		vectors.Write(t, vectorDir, makeRuleVectors(t))
	}
	hits, misses := make(map[string]int), make(map[string]int)
	vectors.Each(t, vectorDir, func(t *testing.T, v ruleVector) {
		claims := v.claims(t)
		if got := findingsOf(claims); !reflect.DeepEqual(got, v.Expect) {
			t.Errorf("%s: %+v: want %+v", v.Desc, got, v.Expect)
		}
		slices.Reverse(claims)
		if got := findingsOf(claims); !reflect.DeepEqual(got, v.Expect) {
			t.Errorf("%s: in another order %+v: want %+v", v.Desc, got, v.Expect)
		}
		if slices.ContainsFunc(v.Expect, func(f vectorFinding) bool { return f.Rule == v.Rule }) {
			hits[v.Rule]++
		} else {
			misses[v.Rule]++
		}
		for _, c := range v.Claims {
			e, err := poclog.ParseEntry([]byte(c.Leaf))
			if err != nil {
				t.Fatal(err)
			}
			if again, err := e.Marshal(); err != nil || !bytes.Equal(again, []byte(c.Leaf)) {
				t.Errorf("%s: written as another leaf (%v)", v.Desc, err)
			}
		}
	})
	for _, r := range rule.All() {
		if (r.Check != nil || r.Alone != nil) && (hits[r.ID] == 0 || misses[r.ID] < 2) {
			t.Errorf("rule %s has %d vectors of what it finds and %d of what it does not", r.ID, hits[r.ID], misses[r.ID])
		}
	}
}
