package receipt_test

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

func TestDemandsThatMeanNothingAreRefused(t *testing.T) {
	for want, d := range map[string]receipt.Demands{
		"negative age":                    {MaxAge: -1},
		"a negative age":                  {MaxCheckpointAge: math.MinInt64},
		"negative age or interval":        {MaxInterval: -time.Second},
		`verdict "sworn"`:                 {Standing: "sworn"},
		"no authenticated place":          {Place: "gce", UnsafeLevel0: true},
		`place "/"`:                       {Place: "/"},
		`place "/us-central1"`:            {Place: "/us-central1"},
		`place "gce/"`:                    {Place: "gce/"},
		`place "gce/us-central1/"`:        {Place: "gce/us-central1/"},
		"measurement of 32 bytes":         {Measurement: make([]byte, 32)},
		`place "gce/us-central1/a": want`: {Place: "gce/us-central1/a"},
	} {
		if err := d.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v: want %q", d, err, want)
		}
	}
	for _, place := range []string{"", "gce", "gce/us-central1", "gce/us-central1-a"} {
		if err := (&receipt.Demands{Place: place}).Validate(); err != nil {
			t.Errorf("%q: %v", place, err)
		}
	}
}

// check holds a receipt to demands.
func check(file []byte, p *tlogpolicy.Policy, now time.Time) func(receipt.Demands) error {
	return func(d receipt.Demands) error {
		_, err := receipt.Check(file, p, now, d)
		return err
	}
}

func TestDemandsOnTimeFailWhereNobodySaysTheTime(t *testing.T) {
	s, untimed := plainScene(), parsePolicy(t, policies["none"])
	file := marshal(s.receipt(5, s.log.Checkpoint(5, by(logKey, 110), by(w1, 111))))
	// The challenge's checkpoint has one witness's signature: less than this policy's quorum.
	withoutT1, later := parsePolicy(t, policies["2-of-3"]), at(1)
	two := marshal(s.receipt(5, s.log.Checkpoint(5, by(logKey, 110), by(w1, 111), by(w2, 112))))
	for _, c := range []struct {
		name string
		got  func(receipt.Demands) error
		d    receipt.Demands
		want string
	}{
		{"age without witnesses", check(file, untimed, at(200)), receipt.Demands{MaxAge: math.MaxInt64}, "max-age: nobody says"},
		{"checkpoint's age without witnesses", check(file, untimed, at(200)), receipt.Demands{MaxCheckpointAge: math.MaxInt64}, "max-checkpoint-age: nobody says"},
		{"interval without witnesses", check(file, untimed, at(200)), receipt.Demands{MaxInterval: math.MaxInt64}, "max-interval: nobody says after"},
		{"age without a quorum on the challenge", check(two, withoutT1, at(200)), receipt.Demands{MaxAge: math.MaxInt64}, "does not vouch for the challenge"},
		{"interval without it", check(two, withoutT1, at(200)), receipt.Demands{MaxInterval: math.MaxInt64}, "max-interval: nobody says after"},
		{"but the checkpoint's age is known", check(two, withoutT1, at(200)), receipt.Demands{MaxCheckpointAge: 89 * time.Second}, ""},
		{"evidence from after now", check(file, parsePolicy(t, oneWitness), later), receipt.Demands{MaxAge: time.Hour}, "max-age: the evidence is of"},
		{"a witness's clock a minute ahead", check(file, parsePolicy(t, oneWitness), at(31)), receipt.Demands{MaxAge: time.Hour}, ""},
		{"and a second more", check(file, parsePolicy(t, oneWitness), at(30)), receipt.Demands{MaxAge: time.Hour}, "max-age: the evidence is of"},
		{"no demand on time", check(file, untimed, time.Time{}), receipt.Demands{}, ""},
	} {
		err := c.got(c.d)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v: want %q", c.name, err, c.want)
		}
	}
}

// What was appraised here is held to the same demands, but for those that need a log.
func TestEntriesAppraisedHereAreHeldToTheSameDemands(t *testing.T) {
	d := receipt.Demands{Place: "gce/us-central1-a", MaxAge: time.Second, MaxCheckpointAge: time.Second, MaxInterval: time.Second, Standing: receipt.Audited}
	if err := d.CheckEntry(entry(nil, nil)); err != nil {
		t.Errorf("demands on time and standing: %v", err)
	}
	for want, change := range map[verify.Check]func(*poclog.Entry){
		"level": historical,
		"realm": func(e *poclog.Entry) { e.Realm = poclog.Lab },
		"place": func(e *poclog.Entry) { e.Place = nil },
	} {
		err := d.CheckEntry(entry(nil, change))
		var step *verify.Error
		if !errors.As(err, &step) || step.Check != want {
			t.Errorf("%v: want %s", err, want)
		}
	}
	key := poclog.Sum([]byte("key"))
	signed := receipt.Demands{Publishers: []poclog.Digest{key}}
	if err := signed.CheckEntry(entry(nil, func(e *poclog.Entry) { e.Publishers = []poclog.Digest{poclog.Sum(nil), key} })); err != nil {
		t.Error(err)
	}
	for _, publishers := range [][]poclog.Digest{nil, {poclog.Sum(nil)}} {
		if err := signed.CheckEntry(entry(nil, func(e *poclog.Entry) { e.Publishers = publishers })); err == nil || !strings.Contains(err.Error(), "publisher: key") {
			t.Errorf("published by %s: %v", publishers, err)
		}
	}
	tcb := receipt.Demands{TCB: []string{"UpToDate"}}
	if err := tcb.CheckEntry(entry(nil, nil)); err != nil {
		t.Error(err)
	}
	if err := tcb.CheckEntry(entry(nil, func(e *poclog.Entry) { e.CVM.TCB = nil })); err == nil || !strings.Contains(err.Error(), "status is unknown") {
		t.Errorf("an entry without TCB: %v", err)
	}
}

func TestCausesOfRefusalsStayReachable(t *testing.T) {
	s := plainScene()
	r := s.of(configLeaf())
	_, err := receipt.Check(marshal(r), parsePolicy(t, policies["none"]), at(200), receipt.Demands{})
	if !errors.Is(err, receipt.ErrNotProof) || bytes.ContainsRune([]byte(err.Error()), '\n') {
		t.Errorf("%v", err)
	}
	v, err := receipt.Open(marshal(r), parsePolicy(t, policies["none"]))
	if err != nil || v.Kind != "config" || v.Config == nil || v.Entry != nil {
		t.Errorf("opened without a demand: %+v, %v", v, err)
	}
}

// A reader who mends one demand need not find the next by trying: all that are not met are listed,
// in the order of the rules, and the receipt's verdict comes with them.
func TestAllUnmetDemandsAreListed(t *testing.T) {
	d := receipt.Demands{Require: []string{"tee.none"}, Owner: "nobody", Profiles: []poclog.Profile{poclog.TDX}}
	e := entry(nil, func(e *poclog.Entry) { e.Realm = poclog.Lab })
	var unmet *receipt.Unmet
	if err := d.CheckEntry(e); !errors.As(err, &unmet) {
		t.Fatal(err)
	}
	var names []string
	for _, u := range unmet.Demands {
		names = append(names, string(u.Check))
	}
	if got := strings.Join(names, " "); got != "realm profile require owner" || unmet.Verdict.Entry != e || strings.Count(unmet.Error(), "; ") != 3 {
		t.Errorf("%s: %v", got, unmet)
	}
	if len(receipt.DemandNames()) < 17 {
		t.Errorf("demands: %v", receipt.DemandNames())
	}
}
