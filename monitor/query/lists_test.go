package query_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/monitor/query"
	"github.com/poclog/poclog/monitor/query/querytest"
)

func TestACVMIsOneChipPlaceAndLaunch(t *testing.T) {
	other := func(f func(*monitor.Record)) func(*monitor.Record) { return f }
	records := querytest.Of(
		querytest.Proof(1, 1, 1, nil),
		querytest.Proof(1, 1, 2, other(func(r *monitor.Record) { r.AK, r.TCB = "tpm:ak:"+poclog.Identity(strings.Repeat("e", 64)), "OutOfDate" })), // its other key
		querytest.Proof(1, 1, 3, other(func(r *monitor.Record) { r.ResetCount = 9 })),                                                              // restarted
		querytest.Proof(2, 1, 4, nil), // moved
		querytest.Proof(1, 2, 1, nil), // its neighbour
		querytest.Proof(1, 1, 5, other(func(r *monitor.Record) { r.Measurement[0] = 1 })), // other firmware
		querytest.Proof(3, 0, 1, nil), // nothing but the key names it
		querytest.Proof(3, 0, 2, nil),
		querytest.Proof(3, 0, 3, other(func(r *monitor.Record) { r.RestartCount = 1 })),
		querytest.Proof(4, 0, 1, other(func(r *monitor.Record) { r.AK, r.Level, r.Place = "", 0, monitor.Place{} })), // a chip alone
		querytest.Proof(4, 0, 2, other(func(r *monitor.Record) { r.AK, r.Level, r.Place = "", 0, monitor.Place{} })),
		&monitor.Record{Kind: monitor.KindConfig, Appraised: querytest.Hours(1)},
		&monitor.Record{Kind: monitor.KindMalformed},
	)
	got, err := query.CVMs(records, query.Filter{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, v := range got {
		lines = append(lines, fmt.Sprintf("%s %d-%d %d %s %s", v.Chip.Value()[31:], v.First.Hour(), v.Last.Hour(), v.Proofs, v.Boot, v.TCB))
	}
	want := "1 1-3 3  UpToDate|1 1-1 1  UpToDate|3 1-2 2 0.0 UpToDate|4 1-2 2  UpToDate|3 3-3 1 0.1 UpToDate|2 4-4 1  UpToDate|1 5-5 1  UpToDate"
	if s := strings.Join(lines, "|"); s != want {
		t.Errorf("%s:\nwant %s", s, want)
	}
	if got[0].Newest != (monitor.EntryRef{Origin: "log.test", Index: 2}) {
		t.Errorf("newest %+v", got[0].Newest)
	}
}

func TestFiltersPickByWhatIsProven(t *testing.T) {
	records := querytest.Of(
		querytest.Proof(1, 1, 1, nil),
		querytest.Proof(2, 2, 2, func(r *monitor.Record) { r.Place = hinted("azure", "westus3") }),
		querytest.Proof(3, 3, 3, func(r *monitor.Record) { r.Level = 0 }), // its certificate names a zone, and nothing binds it
		querytest.Proof(4, 4, 4, func(r *monitor.Record) { r.Realm = poclog.Lab }),
	)
	place := func(s string) query.PlaceQuery {
		q, err := query.ParsePlace(s)
		if err != nil {
			t.Fatal(err)
		}
		return q
	}
	for _, c := range []struct {
		name string
		f    query.Filter
		want string
	}{
		{"all", query.Filter{}, "1234"},
		{"a zone", query.Filter{Place: place("gce/us-central1-a")}, "14"},
		{"a region", query.Filter{Place: place("gce/us-central1")}, "14"},
		{"a provider", query.Filter{Place: place("gce")}, "14"},
		{"a zone, also unproven", query.Filter{Place: place("gce/us-central1-a"), Unproven: true}, "134"},
		{"a hinted region", query.Filter{Place: place("azure/westus3")}, ""},
		{"a hinted region, unproven", query.Filter{Place: place("azure/westus3"), Unproven: true}, "2"},
		{"the proven part of a hint", query.Filter{Place: place("azure")}, "2"},
		{"another zone", query.Filter{Place: place("gce/us-central1-b")}, ""},
		{"another provider's zone", query.Filter{Place: place("azure/us-central1-a")}, ""},
		{"a realm", query.Filter{Realm: poclog.Lab}, "4"},
		{"a level", query.Filter{Level: 2}, "124"},
		{"from, inclusive", query.Filter{Since: querytest.Hours(2)}, "234"},
		{"until, exclusive", query.Filter{Until: querytest.Hours(3)}, "12"},
		{"between", query.Filter{Since: querytest.Hours(2), Until: querytest.Hours(3)}, "2"},
	} {
		got, err := query.CVMs(records, c.f, nil)
		if err != nil {
			t.Fatal(err)
		}
		s := ""
		for _, v := range got {
			s += v.Chip.Value()[31:]
		}
		if s != c.want {
			t.Errorf("%s: chips %q: want %q", c.name, s, c.want)
		}
	}
	for _, bad := range []string{"/", "gce/", "/zone", "gce/region/zone"} {
		if _, err := query.ParsePlace(bad); err == nil {
			t.Errorf("place %q is taken", bad)
		}
	}
}

func TestPlacesNeverListWhatNothingProves(t *testing.T) {
	records := querytest.Of(
		querytest.Proof(1, 1, 1, nil), querytest.Proof(1, 2, 2, nil), querytest.Proof(2, 3, 3, nil), querytest.Proof(2, 3, 4, nil),
		querytest.Proof(5, 5, 1, func(r *monitor.Record) { r.Place = querytest.Authentic("gce", "us-east1", "us-east1-b") }),
		querytest.Proof(2, 2, 2, func(r *monitor.Record) { r.Place = hinted("azure", "westus3") }),
		querytest.Proof(3, 3, 3, func(r *monitor.Record) { r.Level = 0 }),
		querytest.Proof(4, 4, 3, func(r *monitor.Record) { r.Level, r.Place = 0, monitor.Place{} }),
	)
	text := func(f query.Filter) string {
		list, err := query.Places(records, f, nil)
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, p := range list {
			lines = append(lines, fmt.Sprintf("%s %d/%d/%d %v", p, p.Chips, p.CVMs, p.Proofs, p.Proven))
		}
		return strings.Join(lines, "|")
	}
	if got, want := text(query.Filter{}), "azure 1/1/1 true|gce/us-central1/us-central1-a 2/3/4 true|gce/us-east1/us-east1-b 1/1/1 true"; got != want {
		t.Errorf("%s:\nwant %s", got, want)
	}
	if got, want := text(query.Filter{Unproven: true}), "azure 1/1/1 true|gce/us-central1/us-central1-a 2/3/4 true|gce/us-central1/us-central1-a 1/1/1 false|gce/us-east1/us-east1-b 1/1/1 true"; got != want {
		t.Errorf("unproven too: %s:\nwant %s", got, want)
	}
}

// A place is marked by each alert about a chip, an instance or a key there, once.
func TestListsMarkWhatClashes(t *testing.T) {
	there := func(r *monitor.Record) { r.Place = querytest.Authentic("gce", "us-east1", "us-east1-b") }
	records := querytest.Of(querytest.Proof(1, 1, 1, nil), querytest.Proof(1, 1, 2, nil), querytest.Proof(2, 2, 3, nil), querytest.Proof(2, 2, 4, there), querytest.Proof(3, 3, 5, there),
		querytest.Proof(4, 4, 6, func(r *monitor.Record) { r.Place = querytest.Authentic("azure", "westus3", "") }))
	clashes := query.Clashes{querytest.PPID(2): 2, poclog.GCEInstanceIdentity(7, 1): 1, "gce:instance:9:9": 1}
	cvms, err := query.CVMs(records, query.Filter{}, clashes)
	chips, err2 := query.ChassisList(records, query.Filter{}, clashes)
	places, err3 := query.Places(records, query.Filter{}, clashes)
	if err = errors.Join(err, err2, err3); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, v := range cvms {
		got = append(got, fmt.Sprint("vm ", v.Clashes))
	}
	for _, c := range chips {
		got = append(got, fmt.Sprint("chip ", c.Clashes))
	}
	for _, p := range places {
		got = append(got, fmt.Sprint(p, " ", p.Clashes))
	}
	if want := "vm 1,vm 2,vm 2,vm 0,vm 0,chip 0,chip 2,chip 0,chip 0,azure/westus3 0,gce/us-central1/us-central1-a 3,gce/us-east1/us-east1-b 2"; strings.Join(got, ",") != want {
		t.Errorf("%s:\nwant %s", strings.Join(got, ","), want)
	}
}

func TestChassisListWhatWasProvenOnThem(t *testing.T) {
	records := querytest.Of(
		querytest.Proof(1, 1, 2, nil), querytest.Proof(1, 2, 1, nil),
		querytest.Proof(1, 1, 3, func(r *monitor.Record) {
			r.Place, r.TCB = querytest.Authentic("gce", "us-east1", "us-east1-b"), "OutOfDate"
		}),
		querytest.Proof(1, 9, 4, func(r *monitor.Record) { r.Level, r.TCB = 0, "" }),
		querytest.Proof(2, 3, 1, func(r *monitor.Record) { r.Chip = "" }), // masked
	)
	got, err := query.ChassisList(records, query.Filter{}, nil)
	if err != nil || len(got) != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	c := got[0]
	if c.Proofs != 4 || c.CVMs != 4 || c.First != querytest.Hours(1) || c.Last != querytest.Hours(4) || c.TCB != "OutOfDate" || c.Level != 2 ||
		strings.Join(c.Places, " ") != "gce/us-central1/us-central1-a gce/us-east1/us-east1-b" {
		t.Errorf("%+v", c)
	}
}

func TestStatementsAreInTheOrderOfTime(t *testing.T) {
	records := querytest.Of(querytest.Proof(1, 1, 3, nil), querytest.Proof(1, 1, 1, nil), querytest.Proof(2, 1, 2, nil), querytest.Proof(1, 2, 2, nil))
	list, total, err := query.Statements(records, querytest.PPID(1), 2)
	if err != nil || total != 3 || len(list) != 2 || list[0].Index != 3 || list[1].Index != 0 {
		t.Errorf("%+v, %d, %v", list, total, err)
	}
	var many []*monitor.Record
	for i := range 100 {
		many = append(many, querytest.Proof(1, 1, float64((i*37)%100), nil))
	}
	if list, total, err = query.Statements(querytest.Of(many...), querytest.PPID(1), 3); err != nil || total != 100 || len(list) != 3 || list[0].Appraised != querytest.Hours(97) || list[2].Appraised != querytest.Hours(99) {
		t.Errorf("the newest of many: %+v, %d, %v", list, total, err)
	}
	byInstance, _, err := query.Statements(records, poclog.GCEInstanceIdentity(7, 1), 0)
	if err != nil || len(byInstance) != 3 || byInstance[1].Identities[0] != querytest.PPID(2) {
		t.Errorf("%+v, %v", byInstance, err)
	}
}

func TestIdentitiesAreFoundByTheBeginningOfTheirValue(t *testing.T) {
	first, second := poclog.Identity("intel:tdx:ppid:aabbcc00000000000000000000000001"), poclog.Identity("intel:tdx:ppid:aabbcc11000000000000000000000001")
	records := querytest.Of(
		querytest.Proof(1, 1, 1, func(r *monitor.Record) { r.Chip = first }),
		querytest.Proof(1, 1, 2, func(r *monitor.Record) { r.Chip = second }),
		querytest.Proof(1, 1, 3, func(r *monitor.Record) { r.Chip = first }),
	)
	for text, want := range map[string]string{
		string(first):             string(first),
		"aabbcc00":                string(first),
		"aabbcc00…":               string(first),
		"ppid:aabbcc1":            string(second),
		"intel:tdx:ppid:aabbcc11": string(second),
		"aabbcc":                  "begin or end so",
		"tdx:aabbcc1":             string(second),
		"ppid:…" + string(second)[len(second)-8:]: string(second),
		"dx:aabbcc1":               "no entry names", // no whole part of the kind
		"aabb":                     "6 characters",
		"chipid:aabbcc00":          "no entry names",
		"ffffff":                   "no entry names",
		string(querytest.PPID(99)): string(querytest.PPID(99)), // in full: whether anything is known of it is another question
	} {
		got, err := query.Resolve(records, text)
		if s := fmt.Sprint(got, err); !strings.Contains(s, want) {
			t.Errorf("%q: %s: want %s", text, s, want)
		}
	}
}

func TestListsEndAtTheFirstError(t *testing.T) {
	failing := errors.New("the disk is gone")
	records := func(yield func(*monitor.Record, error) bool) {
		if yield(querytest.Proof(1, 1, 1, nil), nil) {
			yield(nil, failing)
		}
	}
	for name, list := range map[string]func() error{
		"cvms":       func() error { _, err := query.CVMs(records, query.Filter{}, nil); return err },
		"chassis":    func() error { _, err := query.ChassisList(records, query.Filter{}, nil); return err },
		"places":     func() error { _, err := query.Places(records, query.Filter{}, nil); return err },
		"statements": func() error { _, _, err := query.Statements(records, querytest.PPID(1), 0); return err },
		"resolve":    func() error { _, err := query.Resolve(records, "ffffff"); return err },
		"proofs":     func() error { _, err := query.FreshProofs(records); return err },
	} {
		if err := list(); !errors.Is(err, failing) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
