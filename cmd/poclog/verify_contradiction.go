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
	policy, err := readTlogPolicy(cmd, v.policy)
	if err != nil {
		return err
	}
	if err := v.checkAuditGroup(cmd, policy); err != nil {
		return err
	}
	if v.limits.MoveTime <= 0 || v.limits.SwapTime <= 0 {
		return usagef("--move-time %s, --swap-time %s: want more than nothing", v.limits.MoveTime, v.limits.SwapTime)
	}
	found, err := receipt.CheckContradiction(file, policy, receipt.Terms{
		UnsafeRealm: d.UnsafeRealm, Reappraise: profile.Reappraiser{}, Limits: v.limits, AuditGroup: v.auditGroup,
	})
	if err != nil {
		return v.explain(v.refused(cmd, result{V: 1, Kind: "contradiction"}, err))
	}
	proven := found.Severity == rule.Contradiction
	if v.asJSON {
		err = printJSON(cmd.OutOrStdout(), result{V: 1, OK: proven, Kind: "contradiction", Contradiction: found})
	} else {
		err = printContradiction(cmd.OutOrStdout(), found)
	}
	if err != nil || proven {
		return err
	}
	return fmt.Errorf("rule %s: an %s calls for an explanation, and is no contradiction", found.Rule, found.Severity)
}

// printContradiction says what was seen and what it may mean, whom it implicates and whom not, and
// on whose word it stands.
func printContradiction(w io.Writer, c *receipt.ContradictionVerdict) error {
	answer := "yes: a contradiction"
	if c.Severity != rule.Contradiction {
		answer = string(c.Severity)
	}
	fmt.Fprintf(w, "%s by rule %s\n", answer, c.Rule)
	labelled(w, "  ", c.Seen+" "+c.Meaning)
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
	fmt.Fprintf(w, "  implicated %s\n", implicated)
	for _, id := range c.Affected {
		labelled(w, "  affected   ", string(id)+": its owner may be a victim, and is not accused")
	}
	for _, origin := range c.Withheld {
		labelled(w, "  withheld   ", "by "+origin+": ask it for the evidence")
	}
	for _, e := range c.Entries {
		fmt.Fprintf(w, "  entry      %d of %d, %s%s\n", e.Index, e.Size, e.Origin, realmOf(e.Entry))
		printInterval(w, e)
	}
	_, err := fmt.Fprintf(w, "  stands on  %s\n", standingText(c))
	return err
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
