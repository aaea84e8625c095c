package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/poclog/poclog/internal/terminal"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/receipt"
)

// The outcomes of verify: the first word of its output, whatever the file.
const (
	pass      = "PASS"
	fail      = "FAIL"
	undecide  = "UNDECIDED"
	labelRoom = 11 // of a label, so that all texts stand in one column
)

var outcomeStyles = map[string]terminal.Style{pass: terminal.Good, fail: terminal.Bad, undecide: terminal.Warn}

// headline prints the outcome and what it is about.
func headline(w io.Writer, outcome, subject string) {
	painted(w, outcomeStyles[outcome], outcome, outcome+"  ", oneLine(subject))
}

// oneLine keeps a text from outside from looking like lines of ours.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// field prints a line of a verdict: a label, and what stands behind it.
func field(w io.Writer, label, format string, args ...any) {
	labelled(w, fmt.Sprintf("  %-*s", labelRoom, label), oneLine(fmt.Sprintf(format, args...)))
}

// marked is a field whose label is in colour.
func marked(w io.Writer, style terminal.Style, label, format string, args ...any) {
	painted(w, style, label, fmt.Sprintf("  %-*s", labelRoom, label), oneLine(fmt.Sprintf(format, args...)))
}

// A failure is one refusal, with what would meet it.
type failure struct {
	Check  string `json:"check,omitempty"` // a check, a step or a demand: `poclog explain` takes it
	Detail string `json:"detail"`
	Remedy string `json:"remedy,omitempty"`
}

// failuresOf divides an error into all that it refuses.
func (v *verifyCmd) failuresOf(err error) []failure {
	var unmet *receipt.Unmet
	var several *severalError
	switch {
	case errors.As(err, &several):
		var all []failure
		for _, e := range several.errs {
			all = append(all, v.failuresOf(e)...)
		}
		return all
	case errors.As(err, &unmet):
		var all []failure
		for _, e := range unmet.Demands {
			all = append(all, failure{string(e.Check), e.Detail, v.remedyOf(e, unmet.Verdict)})
		}
		return all
	}
	f := failure{Detail: err.Error()}
	if refused, ok := errors.AsType[*verify.Error](err); ok {
		f.Check, f.Remedy = string(refused.Check), v.remedyOf(refused, nil)
	}
	f.Detail = strings.TrimPrefix(f.Detail, f.Check+": ")
	if hinted, ok := errors.AsType[*exitError](err); ok && hinted.hint != "" {
		f.Remedy = hinted.hint
	}
	if e, ok := explained(f.Check); ok && f.Remedy == "" {
		f.Remedy = e.do
	}
	return []failure{f}
}

// A severalError is several refusals of one file.
type severalError struct{ errs []error }

func (e *severalError) Error() string {
	texts := make([]string, len(e.errs))
	for i, err := range e.errs {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

func (e *severalError) Unwrap() []error { return e.errs }

// several joins refusals; none is nil.
func several(errs ...error) error {
	var kept []error
	for _, err := range errs {
		if err != nil {
			kept = append(kept, err)
		}
	}
	switch len(kept) {
	case 0:
		return nil
	case 1:
		return kept[0]
	}
	return &severalError{kept}
}

// conclude shows the outcome of a file that did not pass. Wrong usage is no verdict.
func (v *verifyCmd) conclude(cmd *cobra.Command, path string, err error) error {
	status := statusOf(err)
	var e *exitError
	if err == nil || status == exitUsage || errors.As(err, &e) && e.told {
		return err
	}
	outcome := fail
	if status == exitUndecided {
		outcome = undecide
	}
	failures := v.failuresOf(err)
	if v.asJSON {
		r := result{V: 1, Outcome: outcome, Kind: v.kind, Check: failures[0].Check, Detail: err.Error(), Failed: failures}
		if perr := printJSON(cmd.OutOrStdout(), r); perr != nil {
			return perr
		}
		return err
	}
	v.printRefusal(cmd.OutOrStdout(), outcome, path, failures, err)
	return &exitError{status: status, err: err, told: true}
}

// printRefusal shows everything that refused, and what a receipt proves all the same.
func (v *verifyCmd) printRefusal(w io.Writer, outcome, path string, failures []failure, err error) {
	subject := v.shown(path)
	var unmet *receipt.Unmet
	proven := errors.As(err, &unmet)
	if proven && unmet.Verdict.Receipt != nil {
		subject += ", " + entryOf(unmet.Verdict)
	}
	if n := len(failures); n > 1 {
		subject += fmt.Sprintf(": %d refusals", n)
	}
	headline(w, outcome, subject)
	word := "FAILED"
	if outcome == undecide {
		word = "because"
	}
	for _, f := range failures {
		text := f.Detail
		if f.Check != "" {
			text = f.Check + ": " + text
		}
		marked(w, outcomeStyles[outcome], word, "%s", text)
		if f.Remedy != "" {
			field(w, "", "to pass: %s", f.Remedy)
		}
		if _, ok := explained(f.Check); ok {
			field(w, "", "why: poclog explain %s", f.Check)
		}
	}
	if !proven {
		return
	}
	fmt.Fprintln(w, "what it says all the same")
	v.printProof(w, unmet.Verdict, nil)
}

// shown is the file as the headline names it.
func (v *verifyCmd) shown(path string) string {
	name := path
	if path == "-" {
		name = "standard input"
	}
	if v.kind == "" {
		return name
	}
	return name + ": " + kindNames[v.kind]
}

// kindNames are the kinds of files as people call them.
var kindNames = map[string]string{
	"receipt": "receipt", "bundle": "bundle", "envelope": "envelope", "submission": "submission", "dossier": "dossier", "index-wrong": "wrong index",
	"split-view": "split view", "contradiction": "contradiction",
}

// entryOf says which entry of which log a receipt is for.
func entryOf(r *receipt.Verdict) string {
	return fmt.Sprintf("entry %d of %d of %s", r.Index, r.Size, r.Origin)
}

// remedyOf says what would meet a demand or pass a step; "" leaves it to the explanation.
func (v *verifyCmd) remedyOf(e *verify.Error, got *receipt.Verdict) string {
	x, _ := explained(string(e.Check))
	switch {
	case e.Check == "realm":
		return "--realm lab accepts evidence of a laboratory"
	case e.Check == "require" && got != nil:
		var ways []string
		for _, id := range v.require {
			if way, ok := explained(id); ok && !slices.Contains(got.Entry.Checks, id) {
				ways = append(ways, id+": "+way.do)
			}
		}
		return strings.Join(ways, " ")
	case e.Check == "verdict" && got != nil && v.verdict == string(receipt.Audited) && v.trusted != nil && !v.trusted.Has(v.auditGroup):
		return fmt.Sprintf("your tlog-policy has no group %q of auditors: poclog policy add-auditor names one", v.auditGroup)
	}
	return x.do
}
