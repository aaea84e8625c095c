package main

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/monitor/notify"
	"github.com/poclog/poclog/monitor/platforms"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/verify/rule"
)

// closedLists are the values of flags that take one of a few, by the flags' names.
func closedLists() map[string][]string {
	lists := map[string][]string{
		"realm":   {string(poclog.Production), string(poclog.Lab)},
		"verdict": {string(receipt.Logged), string(receipt.Audited), string(receipt.Reappraised)},
		"level":   {"0", "2"},
	}
	lists["ca"] = []string{"platform", "processor"}
	lists["rule"] = []string{
		rule.Moved, monitor.RuleForked, monitor.RuleShrunk, monitor.RuleStalled, monitor.RuleWithholds, monitor.RuleCorrupt, monitor.RuleNames, monitor.RuleChallengeUnfounded,
		monitor.RuleEvidenceWithheld, notify.RuleWatched, notify.RuleOverdue, platforms.RuleFell, platforms.RuleRevoked,
	}
	for _, r := range rule.All() {
		lists["rule"] = append(lists["rule"], r.ID)
	}
	for _, i := range poclog.Items() {
		lists["item"] = append(lists["item"], string(i))
	}
	for _, p := range poclog.Profiles() {
		lists["profile"] = append(lists["profile"], string(p))
	}
	for _, c := range verify.Checks() {
		lists["require"] = append(lists["require"], string(c))
	}
	return lists
}

// valuesOf is the closed list of a command's flag, if it has one. A command whose flag takes others
// than its name says has them in an annotation of the flag's name.
func valuesOf(lists map[string][]string, c *cobra.Command, f *pflag.Flag) ([]string, bool) {
	if own := c.Annotations[f.Name]; own != "" {
		return strings.Split(own, ","), true
	}
	values, ok := lists[f.Name]
	return values, ok
}

// knownValues offer what this computer knows for flags that take anything, by the flags' names.
var knownValues = map[string]cobra.CompletionFunc{
	"identity": completeIdentities, "instance": completeIdentities, "subject": completeIdentities, "watch": completeIdentities, "chassis": completeIdentities,
	"log": completeLogs,
}

// completeFlags offers the values of closed lists to the shell, also behind a comma where a flag
// takes several.
func completeFlags(c *cobra.Command) {
	lists := closedLists()
	c.Flags().VisitAll(func(f *pflag.Flag) {
		values, ok := valuesOf(lists, c, f)
		if known := knownValues[f.Name]; known != nil && f.Value.Type() != "int" {
			if err := c.RegisterFlagCompletionFunc(f.Name, known); err != nil {
				panic(err) // the flag is there, and has no other function
			}
			return
		}
		if !ok || c.Flags().Lookup(f.Name) == nil {
			return
		}
		several := f.Value.Type() == "stringSlice"
		err := c.RegisterFlagCompletionFunc(f.Name, func(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
			if !several {
				return values, cobra.ShellCompDirectiveNoFileComp
			}
			before := typed[:strings.LastIndexByte(typed, ',')+1]
			out := make([]string, len(values))
			for i, v := range values {
				out[i] = before + v
			}
			return out, cobra.ShellCompDirectiveNoFileComp
		})
		if err != nil {
			panic(err) // the flag is there, and has no other function
		}
	})
	for _, sub := range c.Commands() {
		completeFlags(sub)
	}
}
