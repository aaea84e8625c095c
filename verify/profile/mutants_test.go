package profile

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/attack"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/tpm"
)

func TestNamesOfRegionsAndZones(t *testing.T) {
	for name, want := range map[string]bool{
		"": false, "a": true, "z": true, "0": true, "9": true, "-": true, "us-central1-a": true,
		"`": false, "{": false, "/": false, ":": false, "A": false, "a b": false, "é": false,
		strings.Repeat("a", 64): true, strings.Repeat("a", 65): false,
	} {
		if tpm.IsPlace(name) != want {
			t.Errorf("%q: %t", name, !want)
		}
	}
}

// What a publisher sends must not be what he chose to be judged by.
func TestSubmissionsAreHeldToWhatAPublisherMaySay(t *testing.T) {
	w := newWorld(t)
	in := judging(t, w, w.Honest())
	old := w.Honest().Clone()
	old.Set(poclog.ItemChallenge, nil)
	fresh, historical := in.Bundle, mustMarshal(t, old)
	signed := mustMarshalCollateral(t, without(w.Collateral, poclog.ChipRegistry))
	for _, c := range []struct {
		name string
		s    poclog.Submission
		want verify.Check
	}{
		{"fresh evidence", poclog.Submission{Bundle: fresh}, ""},
		{"fresh evidence with signed collateral", poclog.Submission{Bundle: fresh, Collateral: signed}, ""},
		{"with a registry's answer", poclog.Submission{Bundle: fresh, Collateral: in.Collateral}, verify.Collateral},
		{"fresh evidence and a time", poclog.Submission{Bundle: fresh, Judged: labNow}, verify.FreshChallenge},
		{"historical evidence and a time", poclog.Submission{Bundle: historical, Judged: labNow}, ""},
		{"historical evidence and none", poclog.Submission{Bundle: historical}, ""},
		{"no bundle", poclog.Submission{}, verify.Format},
		{"collateral that cannot be read", poclog.Submission{Bundle: fresh, Collateral: []byte("{")}, verify.Format},
	} {
		err := CheckSubmission(&c.s)
		if got, _ := verify.CheckOf(err); got != c.want || (err == nil) != (c.want == "") {
			t.Errorf("%s: %v: want %q", c.name, err, c.want)
		}
	}
}

func mustMarshal(t *testing.T, b *poclog.Bundle) []byte {
	t.Helper()
	file, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func mustMarshalCollateral(t *testing.T, c *poclog.Collateral) []byte {
	t.Helper()
	file, err := c.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// Evidence of an earlier time is judged then, and now without the collateral of then.
func TestEvidenceIsJudgedAtTheTimeItAsksForAndNow(t *testing.T) {
	broken := errors.New("the disk is gone")
	past := labNow.Add(-time.Hour)
	refusal := verify.Failf(verify.TEEChain, "expired")
	for _, c := range []struct {
		name       string
		asked      time.Time
		then, now  error
		want       string
		judgements int
	}{
		{"asks for no time", time.Time{}, nil, nil, "", 1},
		{"asks for no time, and is refused", time.Time{}, nil, refusal, "tee.chain", 1},
		{"good then and now", past, nil, nil, "", 2},
		{"good then, refused now", past, nil, refusal, "but not now", 2},
		{"good then, and now nobody can say", past, nil, broken, "the disk is gone", 2},
		{"refused then", past, refusal, nil, "tee.chain", 1},
		{"now", labNow, nil, nil, "", 2},
		{"the future", labNow.Add(time.Second), nil, nil, "judged", 0},
	} {
		n := 0
		a, err := AppraiseAt(Input{Appraised: labNow, Collateral: []byte("c")}, c.asked, func(in Input) (*verify.Appraisal, error) {
			n++
			err := c.now
			if in.Appraised.Before(labNow) {
				err = c.then
			}
			if n == 2 && in.Collateral != nil {
				t.Errorf("%s: judged now by the collateral of then", c.name)
			}
			return new(verify.Appraisal), err
		})
		if n != c.judgements || (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) || err == nil && a == nil {
			t.Errorf("%s: %v after %d judgements: want %q after %d", c.name, err, n, c.want, c.judgements)
		}
	}
}

func TestKnownResultsHoldInTheirSpan(t *testing.T) {
	from, to := labNow, labNow.Add(time.Hour)
	for _, c := range []struct {
		at   time.Time
		want bool
	}{{from, true}, {to, true}, {from.Add(-time.Second), false}, {to.Add(time.Second), false}} {
		k := NewKnown()
		k.put([32]byte{1}, known{verify.Span{Issued: from, Until: to}, "value"}, c.at)
		if len(k.m) == 1 != c.want {
			t.Errorf("put at %s: %d are known", c.at, len(k.m))
		}
		k.put([32]byte{1}, known{verify.Span{Issued: from, Until: to}, "value"}, from)
		if v, ok := k.get([32]byte{1}, c.at); ok != c.want || ok && v != "value" {
			t.Errorf("got at %s: %v, %t", c.at, v, ok)
		}
		if _, ok := k.get([32]byte{2}, from); ok {
			t.Error("what is not known is known")
		}
	}
	k := NewKnown()
	for i := range maxKnown + 1 {
		if len(k.m) > maxKnown {
			t.Fatalf("%d results are known", len(k.m))
		}
		k.put([32]byte{byte(i), byte(i >> 8)}, always(i), labNow)
	}
	if len(k.m) != 1 {
		t.Errorf("%d results are known after it was full: want the last alone", len(k.m))
	}
}

func TestAppraisalIsOfAWholeSecondAndAKnownSpecification(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		name   string
		change func(*Input)
		want   string
	}{
		{"specification 0", func(in *Input) { in.Appraisal = 0 }, "appraisal specification 0"},
		{"a specification of later times", func(in *Input) { in.Appraisal++ }, "this software knows"},
		{"half a second", func(in *Input) { in.Appraised = in.Appraised.Add(time.Second / 2) }, "want whole seconds"},
		{"1999", func(in *Input) { in.Appraised = time.Date(1999, 12, 31, 23, 59, 59, 0, time.UTC) }, "want whole seconds"},
		{"2000", func(in *Input) { in.Appraised = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) }, ""},
		{"9999", func(in *Input) { in.Appraised = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC) }, ""},
		{"10000", func(in *Input) { in.Appraised = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) }, "want whole seconds"},
	} {
		in := judging(t, w, w.Honest())
		c.change(&in)
		_, err := open(in)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v: want %q", c.name, err, c.want)
		}
	}
}

// A live connection's quote must be genuine, and of the entry's chip and launch.
func TestLiveQuoteIsOfTheEntrysChipAndLaunch(t *testing.T) {
	for _, p := range []poclog.Profile{poclog.GCETDXvTPM, poclog.AzureSNPvTPM} {
		w := attack.NewWorldOf(p)
		b := w.Honest()
		a, err := Appraise(judging(t, w, b))
		if err != nil {
			t.Fatal(err)
		}
		item := poclog.ItemTDXQuote
		if p == poclog.AzureSNPvTPM {
			item = poclog.ItemSNPReport
		}
		changed := b.Clone()
		quote := append([]byte(nil), b.Get(item)...)
		quote[0x90] ^= 1 // within the signed part of either
		changed.Set(item, quote)
		for _, c := range []struct {
			name   string
			live   *poclog.Bundle
			change func(*poclog.Entry)
			want   string
		}{
			{"the VM's own", b, func(*poclog.Entry) {}, ""},
			{"another chip", b, func(e *poclog.Entry) {
				e.Chassis = []poclog.Identity{"intel:tdx:ppid:00112233445566778899aabbccddeeff"}
			}, "the receipt's is"},
			{"another launch", b, func(e *poclog.Entry) { e.CVM.Measurement = make([]byte, 48) }, "launch measurement"},
			{"a laboratory's quote for a production entry", b, func(e *poclog.Entry) { e.Realm = poclog.Production }, "root"},
			{"a changed quote", changed, func(*poclog.Entry) {}, "sign"},
			{"no quote", new(poclog.Bundle), func(*poclog.Entry) {}, "format: "},
		} {
			e := a.Entry
			c.change(&e)
			err := CompareLive(c.live, &e, labNow)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %s: %v: want %q", p, c.name, err, c.want)
			}
		}
	}
}
