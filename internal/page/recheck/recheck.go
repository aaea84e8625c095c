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
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// A Verdict is what came of a file, in the words of the page's own verifier.
type Verdict struct {
	Kind    string `json:"kind"`    // "receipt", "dossier", "contradiction", "wrong index" or "split view"
	Outcome string `json:"outcome"` // "refused"; else on whose word it stands, or what is found
	Step    string `json:"step"`    // that refused
	Detail  string `json:"detail"`  // for people
}

// Check checks a file of any kind that there is, under the reader's tlog-policy, for a realm. A
// receipt has to be of level 2, or of any.
func Check(file, policyText []byte, realm poclog.Realm, anyLevel bool, now time.Time) Verdict {
	v := Verdict{Kind: kindOf(file)}
	policy, err := tlogpolicy.Parse(policyText)
	if err != nil {
		return v.refused(&verify.Error{Check: "policy", Detail: err.Error()})
	}
	v.Outcome, v.Detail, err = check(v.Kind, file, policy, realm, anyLevel, now)
	if err != nil {
		return v.refused(err)
	}
	return v
}

func (v Verdict) refused(err error) Verdict {
	v.Outcome, v.Detail = "refused", err.Error()
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

func check(kind string, file []byte, policy *tlogpolicy.Policy, realm poclog.Realm, anyLevel bool, now time.Time) (outcome, detail string, err error) {
	switch kind {
	case "receipt":
		v, err := receipt.Check(file, policy, now, receipt.Demands{UnsafeRealm: realm, UnsafeLevel0: anyLevel})
		if err != nil {
			return "", "", err
		}
		return string(v.Verdict), fmt.Sprintf("entry %d of %d", v.Index, v.Size), nil
	case "dossier":
		a, err := dossier.Check(file, policy, now, dossier.Demands{UnsafeRealm: realm})
		if err != nil {
			return "", "", err
		}
		return string(a.Verdict), fmt.Sprintf("complete below entry %d; %d findings", a.Size, len(a.Findings)), nil
	case "contradiction":
		v, err := receipt.CheckContradiction(file, policy, receipt.Terms{UnsafeRealm: realm})
		if err != nil {
			return "", "", err
		}
		return "found", fmt.Sprintf("%s, %s", v.Severity, v.Verdict), nil
	case "wrong index":
		w, err := dossier.CheckIndexWrong(file, policy)
		if err != nil {
			return "", "", err
		}
		return "found", fmt.Sprintf("entry %d of %s", w.Entry, w.Name), nil
	}
	v, err := receipt.CheckSplitView(file, policy)
	if err != nil {
		return "", "", err
	}
	return "split view", v.Origin, nil
}
