// Package recheck is the Go verifier as a page of the explorer calls it: a file and a policy go in,
// and what verify/receipt and verify/dossier say of it comes out. It is pure, as they are: no
// network, no files, no database. The folder wasm makes WebAssembly of it.
//
// It judges no evidence. TestBrowserAsksBothImplementations in monitor/web is the evidence that the
// page's TypeScript verifier and this one say the same.
package recheck

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/dossier"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/verify/rule"
	"github.com/poclog/poclog/verify/tlogpolicy"
	"github.com/poclog/poclog/verify/vouch/registry"
)

// An Asked is what a reader goes by, as a page sends it.
type Asked struct {
	Policy     string       `json:"policy"` // a tlog-policy
	Realm      poclog.Realm `json:"realm"`
	Level      string       `json:"level"`      // of a receipt: "0": any; else 2
	Appraisals []string     `json:"appraisals"` // of a receipt: digests of appraisal policies, by one of which it was judged; none: any
	EndorsedBy []string     `json:"endorsedBy"` // of a receipt: keys, NAME or NAME@LEVEL
	Registrars string       `json:"registrars"` // a file of pinned registrars; "": none
	Openings   []string     `json:"openings"`   // files

	Dossiers [][]byte `json:"-"` // of a receipt: that of its log clears it, those of others agree with it
}

// demandsOf reads what the reader goes by.
func (q *Asked) demandsOf() (r receipt.Demands, d dossier.Demands, err error) {
	r, d = receipt.Demands{UnsafeRealm: q.Realm, UnsafeLevel0: q.Level == "0"}, dossier.Demands{UnsafeRealm: q.Realm}
	for _, text := range q.Appraisals {
		digest, err := poclog.ParseDigest(text)
		if err != nil {
			return r, d, err
		}
		r.Appraisals = append(r.Appraisals, digest)
	}
	for _, text := range q.EndorsedBy {
		if key, err := poclog.ParseDigest(text); err == nil {
			r.EndorsedBy = append(r.EndorsedBy, key)
			continue
		}
		by, err := dossier.ParseEndorser(text)
		if err != nil {
			return r, d, err
		}
		d.EndorsedBy = append(d.EndorsedBy, by)
	}
	for _, file := range q.Openings {
		o, err := poclog.ParseOpening([]byte(file))
		if err != nil {
			return r, d, err
		}
		d.Openings = append(d.Openings, o)
	}
	if q.Registrars != "" {
		pins, err := poclog.ParsePins([]byte(q.Registrars))
		if err != nil {
			return r, d, err
		}
		if d.Registrars, err = registry.New(pins.Registrars); err != nil {
			return r, d, err
		}
	}
	return r, d, nil
}

// A Verdict is what came of a file, in the words of the page's own verifier.
type Verdict struct {
	Kind    string `json:"kind"`    // "receipt", "dossier", "contradiction", "wrong index" or "split view"
	Word    string `json:"word"`    // "PASS" or "FAIL"
	Outcome string `json:"outcome"` // "refused"; else on whose word it stands, or what is found
	Step    string `json:"step"`    // that refused
	Detail  string `json:"detail"`  // for people
}

// Check checks a file of any kind that there is, as the reader asks.
func Check(file []byte, q *Asked, now time.Time) Verdict {
	v := Verdict{Kind: kindOf(file)}
	policy, err := tlogpolicy.Parse([]byte(q.Policy))
	if err != nil {
		return v.refused(&verify.Error{Check: "policy", Detail: err.Error()})
	}
	var good bool
	if v.Outcome, v.Detail, good, err = q.check(v.Kind, file, policy, now); err != nil {
		return v.refused(err)
	}
	if v.Word = "FAIL"; good {
		v.Word = "PASS"
	}
	return v
}

func (v Verdict) refused(err error) Verdict {
	v.Word, v.Outcome, v.Detail = "FAIL", "refused", err.Error()
	if step := (*verify.Error)(nil); errors.As(err, &step) {
		v.Step, v.Detail = string(step.Check), step.Detail
	}
	return v
}

// kindOf tells files apart by how they begin.
func kindOf(file []byte) string {
	for _, k := range []struct{ start, kind string }{
		{`{"v":1,"rule":"index-wrong"`, "wrong index"}, {`{"v":1,"rule":`, "contradiction"}, {`{"v":1,"index":`, "dossier"}, {`{"v":1,`, "split view"},
	} {
		if bytes.HasPrefix(file, []byte(k.start)) {
			return k.kind
		}
	}
	return "receipt"
}

// check says whether a file shows what it is for: a dossier, that nothing contradicts.
func (q *Asked) check(kind string, file []byte, policy *tlogpolicy.Policy, now time.Time) (outcome, detail string, good bool, err error) {
	asked, beside, err := q.demandsOf()
	if err != nil {
		return "", "", false, &verify.Error{Check: "demands", Detail: err.Error()}
	}
	switch kind {
	case "receipt":
		v, err := receipt.Check(file, policy, now, asked)
		if err == nil {
			err = q.hold(v, policy, beside, now)
		}
		if err != nil {
			return "", "", false, err
		}
		return string(v.Verdict), fmt.Sprintf("entry %d of %d", v.Index, v.Size), true, nil
	case "dossier":
		a, err := dossier.Check(file, policy, now, dossier.Demands{UnsafeRealm: q.Realm, Registrars: beside.Registrars})
		if err != nil {
			return "", "", false, err
		}
		return string(a.Verdict), fmt.Sprintf("complete below entry %d; %d findings", a.Size, len(a.Findings)), a.Gravest() == nil, nil
	case "contradiction":
		v, err := receipt.CheckContradiction(file, policy, receipt.Terms{UnsafeRealm: q.Realm})
		if err != nil {
			return "", "", false, err
		}
		return "found", fmt.Sprintf("%s, %s", v.Severity, v.Verdict), v.Severity == rule.Contradiction, nil
	case "wrong index":
		w, err := dossier.CheckIndexWrong(file, policy)
		if err != nil {
			return "", "", false, err
		}
		return "found", fmt.Sprintf("entry %d of %s", w.Entry, w.Name), true, nil
	}
	v, err := receipt.CheckSplitView(file, policy)
	if err != nil {
		return "", "", false, err
	}
	return "split view", v.Origin, true, nil
}

// hold holds a receipt to the dossiers beside it.
func (q *Asked) hold(v *receipt.Verdict, policy *tlogpolicy.Policy, d dossier.Demands, now time.Time) error {
	own := false
	for _, file := range q.Dossiers {
		a, err := dossier.Check(file, policy, now, d)
		switch {
		case err != nil:
		case a.Origin == v.Origin:
			own, err = true, a.Clears(v)
		default:
			err = a.Agrees(v)
		}
		if err != nil {
			return err
		}
	}
	switch {
	case len(q.Dossiers) > 0 && !own:
		return verify.Failf(dossier.StepDossier, "none is of %s, the receipt's log", v.Origin)
	case len(d.EndorsedBy) > 0 && (!own || d.Registrars == nil):
		return verify.Failf("demands", "a registrar that vouches takes registrars that are pinned, and a dossier")
	case len(d.Openings) > 0 && d.Registrars == nil:
		return verify.Failf("demands", "openings: no registrar is pinned")
	}
	return nil
}
