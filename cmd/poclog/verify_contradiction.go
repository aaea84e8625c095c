package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify/profile"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/verify/rule"
)

// contradiction checks a contradiction's file. Only what cannot all be honest is a yes: an alert is
// shown, and is none.
func (v *verifyCmd) contradiction(cmd *cobra.Command, file []byte, d receipt.Demands) error {
	policy, err := v.policyOf(cmd)
	if err != nil {
		return err
	}
	if v.limits.MoveTime <= 0 || v.limits.SwapTime <= 0 {
		return usagef("--move-time %s, --swap-time %s: want more than nothing", v.limits.MoveTime, v.limits.SwapTime)
	}
	found, err := receipt.CheckContradiction(file, policy, receipt.Terms{
		UnsafeRealm: d.UnsafeRealm, Reappraise: profile.Reappraiser{}, Limits: v.limits, AuditGroup: v.auditGroup,
	})
	if err != nil {
		return err
	}
	var refused error
	if found.Severity != rule.Contradiction {
		refused = fmt.Errorf("rule %s: an %s calls for an explanation, and is no contradiction", found.Rule, found.Severity)
	}
	return v.answer(cmd, result{Contradiction: found}, refused, func(w io.Writer, outcome string) { v.printContradiction(w, outcome, found) })
}

// printContradiction says what was seen and what it may mean, whom it implicates and whom not, and
// on whose word it stands.
func (v *verifyCmd) printContradiction(w io.Writer, outcome string, c *receipt.ContradictionVerdict) {
	if outcome == pass {
		headline(w, outcome, v.shown(v.path)+" is proven, by rule "+c.Rule)
	} else {
		headline(w, outcome, fmt.Sprintf("%s: no contradiction, but an %s by rule %s", v.shown(v.path), c.Severity, c.Rule))
	}
	field(w, "seen", "%s", v.short(c.Seen))
	field(w, "meaning", "%s", c.Meaning)
	implicated := strings.Join(c.Implicated, ", ")
	switch {
	case implicated != "":
	case c.Severity == rule.Contradiction:
		implicated = "nobody: the entries do not show whose doing it is"
	case len(c.Withheld) > 0:
		implicated = "nobody: the evidence of both entries is needed for that, and is not in the file"
	default:
		implicated = "nobody: there may be an honest explanation"
	}
	field(w, "implicated", "%s", v.short(implicated))
	for _, id := range c.Affected {
		field(w, "affected", "%s: its owner may be a victim, and is not accused", v.short(string(id)))
	}
	for _, origin := range c.Withheld {
		field(w, "withheld", "by %s: ask it for the evidence", origin)
	}
	for _, e := range c.Entries {
		field(w, "entry", "%d of %d, %s%s", e.Index, e.Size, e.Origin, realmOf(e.Entry))
		field(w, "", "made %s", madeText(e))
	}
	field(w, "stands on", "%s", standingText(c))
}

// auditorsOf names the auditors on whose word a contradiction stands.
func auditorsOf(c *receipt.ContradictionVerdict) (names []string) {
	for _, e := range c.Entries {
		names = append(names, e.Auditors...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func realmOf(e *poclog.Entry) string {
	if e == nil {
		return ""
	}
	return fmt.Sprintf(": profile %s, realm %s", e.Profile, e.Realm)
}

// standingText says on whose word a contradiction stands. What implicates a log needs no other's
// word than the log's.
func standingText(c *receipt.ContradictionVerdict) string {
	switch {
	case c.Verdict == receipt.Reappraised:
		return "the evidence: what was judged is in the file, and was judged again here"
	case len(c.Implicated) == 1 && strings.HasPrefix(c.Implicated[0], "log:"):
		return "what the log itself published"
	case c.Verdict == receipt.Audited:
		return "the word of " + strings.Join(auditorsOf(c), ", ") + ", who repeated the appraisals; the file lacks the evidence, or a part of it"
	}
	return "the logs' word that the appraisals passed: the file lacks the evidence, or a part of it, and shows that both entries were published"
}
