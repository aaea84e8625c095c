package agree

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/dossier"
	"github.com/poclog/poclog/verify/profile"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/verify/rule"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// gopher answers a question by the Go implementation, in the same words as js/test/answer.ts.
func gopher(q *question) answer {
	outcome, err := asked(q)
	if err == nil {
		return answer{Outcome: outcome}
	}
	if step := (*verify.Error)(nil); errors.As(err, &step) {
		return answer{"refused " + string(step.Check), step.Detail}
	}
	return answer{"refused", err.Error()}
}

func asked(q *question) (string, error) {
	switch q.Op {
	case "format":
		s, err := formats[q.Format](q.File)
		return "ok " + s, plain(err)
	case "rules":
		return rules(q.Claims)
	case "findings":
		return across(q.Claims)
	case "stated":
		return asRegistrars(q.Register)
	}
	policy, err := tlogpolicy.Parse(q.Policy)
	if err != nil {
		return "", plain(err)
	}
	switch q.Op {
	case "receipt", "stapled":
		return checkReceipt(q, policy)
	case "dossier":
		return checkDossier(q, policy)
	case "standing":
		return checkStanding(q, policy)
	case "index-wrong":
		w, err := dossier.CheckIndexWrong(q.File, policy)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("found %s entry %d omitted %t", w.Name, w.Entry, w.Omitted), nil
	case "contradiction":
		v, err := receipt.CheckContradiction(q.File, policy, receipt.Terms{UnsafeRealm: poclog.Realm(q.Realm)})
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%s %s %s", v.Severity, v.Verdict, strings.Join(v.Implicated, " ")), nil
	}
	v, err := receipt.CheckSplitView(q.File, policy)
	if err != nil {
		return "", err
	}
	return "split " + v.Origin, nil
}

// plain hides a step: formats have none.
func plain(err error) error {
	if err == nil {
		return nil
	}
	return errors.New(err.Error())
}

// checkReceipt checks a receipt, and holds it to the dossiers beside it, if there are any.
func checkReceipt(q *question, policy *tlogpolicy.Policy) (string, error) {
	now, err := time.Parse(time.RFC3339, q.Time)
	if err != nil {
		return "", err
	}
	d, err := demands(q.Demands)
	if err != nil {
		return "", err
	}
	v, err := receipt.Check(q.File, policy, now, d)
	if err == nil && len(q.Dossiers) > 0 {
		err = standBeside(q, policy, now, dossier.Demands{UnsafeRealm: d.UnsafeRealm}, v)
	}
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s %d of %d t1 %s t2 %s", v.Verdict, v.Index, v.Size, bound(v.T1), bound(v.T2)), nil
}

func checkDossier(q *question, policy *tlogpolicy.Policy) (string, error) {
	now, d, err := dossierDemands(q)
	if err != nil {
		return "", err
	}
	a, err := dossier.Check(q.File, policy, now, d)
	if err != nil {
		return "", err
	}
	out := []string{string(a.Verdict), fmt.Sprintf("size %d seen %s;", a.Size, bound(a.Seen))}
	for _, n := range a.Names {
		out = append(out, fmt.Sprintf("%s %v", n.Name, n.Numbers))
	}
	return strings.Join(out, " ") + "; " + listOfFindings(a.Findings), nil
}

// listOfFindings is all that is found, in its order.
func listOfFindings(all []*rule.Finding) string {
	out := make([]string, len(all))
	for i, f := range all {
		out[i] = strings.Join(append([]string{string(f.Severity), f.Rule, string(f.Subject)}, f.Implicated...), " ")
	}
	if len(out) == 0 {
		return "nothing"
	}
	return "found " + strings.Join(out, "; ")
}

func dossierDemands(q *question) (now time.Time, d dossier.Demands, err error) {
	if now, err = time.Parse(time.RFC3339, q.Time); err != nil {
		return now, d, err
	}
	for name, v := range q.Demands {
		switch name {
		case "realm":
			d.UnsafeRealm = poclog.Realm(v.(string))
		case "verdict":
			d.Standing = receipt.Standing(v.(string))
		case "names":
			d.Names = v.([]string)
		case "maxAge":
			d.MaxAge = time.Duration(v.(int)) * time.Second
		case "since":
			if d.Since, err = time.Parse(time.RFC3339, v.(string)); err != nil {
				return now, d, err
			}
		}
	}
	return now, d, nil
}

// standBeside holds a receipt to the dossiers beside it: that of its log clears it, and the others
// agree with it.
func standBeside(q *question, policy *tlogpolicy.Policy, now time.Time, d dossier.Demands, v *receipt.Verdict) error {
	var all []*dossier.Answer
	own := false
	for _, f := range q.Dossiers {
		a, err := dossier.Check(f, policy, now, d)
		if err != nil {
			return err
		}
		own = own || a.Origin == v.Origin
		all = append(all, a)
	}
	if !own {
		return &verify.Error{Check: dossier.StepDossier, Detail: "none is of the receipt's log"}
	}
	for _, a := range all {
		judge := a.Agrees
		if a.Origin == v.Origin {
			judge = a.Clears
		}
		if err := judge(v); err != nil {
			return err
		}
	}
	return nil
}

func bound(b receipt.Bound) string {
	if !b.Known {
		return "-"
	}
	return strconv.FormatInt(b.Time.Unix(), 10)
}

func demands(all map[string]any) (d receipt.Demands, err error) {
	for name, v := range all {
		switch name {
		case "level":
			d.UnsafeLevel0 = v == 0
		case "realm":
			d.UnsafeRealm = poclog.Realm(v.(string))
		case "place":
			d.Place = v.(string)
		case "maxAge":
			d.MaxAge = time.Duration(v.(int)) * time.Second
		case "maxInterval":
			d.MaxInterval = time.Duration(v.(int)) * time.Second
		default:
			return d, fmt.Errorf("demand %s", name)
		}
	}
	return d, nil
}

// formats are the parsers, and what is compared of what they read.
var formats = map[string]func(file []byte) (string, error){
	"bundle": func(f []byte) (string, error) {
		b, err := poclog.ParseBundle(f)
		if err != nil {
			return "", err
		}
		p, err := profile.Of(b)
		if err != nil {
			p = "none"
		}
		out := []string{string(p)}
		for _, item := range b.Items() {
			out = append(out, string(item)+" "+sum(b.Get(item)))
		}
		return strings.Join(out, " "), nil
	},
	"collateral": func(f []byte) (string, error) {
		c, err := poclog.ParseCollateral(f)
		if err != nil {
			return "", err
		}
		return strconv.Itoa(len(c.Items)), nil
	},
	"challenge": func(f []byte) (string, error) {
		c, err := poclog.ParseChallenge(f)
		if err != nil {
			return "", err
		}
		n := c.Nonce()
		return hex.EncodeToString(n[:]), nil
	},
	"policy": func(f []byte) (string, error) {
		p, err := poclog.ParsePolicy(f)
		if err != nil {
			return "", err
		}
		return string(p.Realm), nil
	},
	"dossier": func(f []byte) (string, error) {
		d, err := poclog.ParseDossier(f)
		if err != nil {
			return "", err
		}
		return strconv.Itoa(len(d.Names)), nil
	},
	"index-wrong": func(f []byte) (string, error) {
		w, err := poclog.ParseIndexWrong(f)
		if err != nil {
			return "", err
		}
		return w.Name, nil
	},
	"entry": func(f []byte) (string, error) {
		l, err := poclog.ParseLeaf(f)
		switch {
		case err != nil:
			return "", err
		case l.Proof != nil:
			return "proof", nil
		case l.Config != nil:
			return "config", nil
		case l.Index != nil:
			return "index", nil
		case l.Statement != nil:
			return "statement", nil
		}
		return "unknown", nil
	},
	"exceptions": func(f []byte) (string, error) {
		e, err := poclog.ParseExceptions(f)
		if err != nil {
			return "", err
		}
		return e.Auditor, nil
	},
	"statement": func(f []byte) (string, error) {
		s, err := poclog.ParseStatement(f)
		if err != nil {
			return "", err
		}
		return string(s.Type), nil
	},
	"statement-envelope": func(f []byte) (string, error) {
		v, err := poclog.ParseStatementEnvelope(f)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%s %d", v.Statement.Registrar, len(v.Signatures)), nil
	},
	"statement-submission": func(f []byte) (string, error) {
		s, err := poclog.ParseStatementSubmission(f)
		if err != nil {
			return "", err
		}
		return strconv.Itoa(len(s.Documents)), nil
	},
	"registrars": func(f []byte) (string, error) {
		p, err := poclog.ParsePins(f)
		if err != nil {
			return "", err
		}
		return strconv.Itoa(len(p.Registrars)), nil
	},
	"opening": func(f []byte) (string, error) {
		o, err := poclog.ParseOpening(f)
		if err != nil {
			return "", err
		}
		return string(o.Identity), nil
	},
	"submission": func(f []byte) (string, error) {
		s, err := poclog.ParseSubmission(f)
		if err != nil {
			return "", err
		}
		return sum(s.Bundle), nil
	},
	"envelope": func(f []byte) (string, error) {
		e, err := poclog.ParseEnvelope(f)
		if err != nil {
			return "", err
		}
		s, err := e.Submission()
		if err != nil {
			return "", err
		}
		return sum(s.Bundle), nil
	},
	"contradiction": func(f []byte) (string, error) {
		c, err := poclog.ParseContradiction(f)
		if err != nil {
			return "", err
		}
		return c.Rule, nil
	},
	"receipt": func(f []byte) (string, error) {
		r, err := poclog.ParseReceipt(f)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%d %s", r.Index, sum(r.Entry)), nil
	},
	"split-view": func(f []byte) (string, error) {
		s, err := receipt.ParseSplitView(f)
		if err != nil {
			return "", err
		}
		return s.Origin, nil
	},
	"identity": func(f []byte) (string, error) {
		id, err := poclog.ParseIdentity(string(f))
		return string(id), err
	},
	"tlogpolicy": func(f []byte) (string, error) {
		p, err := tlogpolicy.Parse(f)
		if err != nil {
			return "", err
		}
		return strconv.Itoa(len(p.Logs())), nil
	},
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:8])
}

// across runs the rules over many entries.
func across(claims []claim) (string, error) {
	all, err := claimsOf(claims)
	if err != nil {
		return "", err
	}
	return listOfFindings(rule.Limits{}.Across(all)), nil
}

func claimsOf(claims []claim) ([]*rule.Claim, error) {
	all := make([]*rule.Claim, len(claims))
	for i, c := range claims {
		e, err := poclog.ParseEntry(c.Leaf)
		if err != nil {
			return nil, err
		}
		index, err := strconv.ParseUint(c.Index, 10, 64)
		if err != nil {
			return nil, err
		}
		all[i] = &rule.Claim{Origin: c.Origin, Index: index, Entry: e, T1: unix(c.T1), T2: unix(c.T2), Rooted: c.After}
	}
	return all, nil
}

// rules makes every rule that takes as many entries.
func rules(claims []claim) (string, error) {
	all, err := claimsOf(claims)
	if err != nil {
		return "", err
	}
	var found []*rule.Finding
	if len(all) == 1 {
		found = rule.Judge(all[0])
	} else {
		found = rule.Compare(all[0], all[1])
	}
	var out []string
	for _, f := range found {
		out = append(out, strings.Join(append([]string{f.Rule, string(f.Severity)}, f.Implicated...), " "))
	}
	if len(out) == 0 {
		return "nothing", nil
	}
	sort.Strings(out)
	return strings.Join(out, "; "), nil
}

func unix(s string) (t time.Time) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		t = time.Unix(n, 0).UTC()
	}
	return t
}
