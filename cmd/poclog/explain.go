package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// explanations are all of them, in the order in which `poclog explain --list` shows them.
func explanations() []explanation {
	return slices.Concat(checkExplanations, guardExplanations, statementExplanations, stepExplanations, demandExplanations)
}

// explained finds the explanation of a check, a step or a demand.
func explained(id string) (explanation, bool) {
	all := explanations()
	i := slices.IndexFunc(all, func(e explanation) bool { return e.id == id })
	if i < 0 {
		return explanation{}, false
	}
	return all[i], true
}

func explanationIDs() []string {
	var ids []string
	for _, e := range explanations() {
		ids = append(ids, e.id)
	}
	return ids
}

// explanationJSON is the stable form of an explanation.
type explanationJSON struct {
	V      int    `json:"v"`
	ID     string `json:"id"`
	Kind   string `json:"kind"`
	Proves string `json:"proves"`
	Absent string `json:"absent"`
	Open   string `json:"open,omitempty"`
	Do     string `json:"do"`
}

func newExplainCmd() *cobra.Command {
	var list, asJSON bool
	c := &cobra.Command{
		Use:   "explain CHECK",
		Short: "Say what a check proves, why it can be absent, and what to do about it",
		Long: "Say what a check proves, why it can be absent or refuse, what stays open without it, and what to do. CHECK is the first word of a refusal:\n" +
			"a check of an appraisal (tee.tcb), a step in which a file is checked (inclusion), or a demand (level).",
		Example:           "  poclog explain place.registry\n  poclog explain --list",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: complete(explanationIDs()...),
		RunE: func(cmd *cobra.Command, args []string) error {
			if list == (len(args) == 1) {
				return hint(usagef("want either a check or --list"), "poclog explain --list shows all of them")
			}
			if list {
				return listExplanations(cmd, asJSON)
			}
			e, ok := explained(args[0])
			if !ok {
				return unknownCheck(args[0])
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), e.json())
			}
			return e.print(cmd.OutOrStdout())
		},
	}
	c.Flags().BoolVar(&list, "list", false, "list all checks, steps and demands")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func unknownCheck(id string) error {
	if near := nearest(id, explanationIDs()); near != "" {
		return hint(usagef("there is no check %q", id), "did you mean %s? poclog explain --list shows all", near)
	}
	return hint(usagef("there is no check %q", id), "poclog explain --list shows all of them")
}

func (e *explanation) json() explanationJSON {
	return explanationJSON{V: 1, ID: e.id, Kind: e.kind, Proves: e.proves, Absent: e.absent, Open: e.open, Do: e.do}
}

func (e *explanation) print(w io.Writer) error {
	titles := map[string]string{
		"check": "a check of the evidence", "guard": "a guard: it only refuses", "step": "a step in which a file is checked", "demand": "a demand of the reader's",
	}
	_, err := fmt.Fprintf(w, "%s: %s\n\n", e.id, titles[e.kind])
	proves, absent := "proves", "absent if"
	if e.kind == "demand" {
		proves = "asks"
	}
	if e.kind != "check" {
		absent = "refuses"
	}
	labelled(w, fmt.Sprintf("  %-9s  ", proves), e.proves)
	labelled(w, fmt.Sprintf("  %-9s  ", absent), e.absent)
	if e.open != "" {
		labelled(w, fmt.Sprintf("  %-9s  ", "open then"), "Without it nothing shows "+e.open+".")
	}
	labelled(w, fmt.Sprintf("  %-9s  ", "to do"), e.do)
	return err
}

func listExplanations(cmd *cobra.Command, asJSON bool) error {
	w := cmd.OutOrStdout()
	if asJSON {
		var all []explanationJSON
		for _, e := range explanations() {
			all = append(all, e.json())
		}
		return printJSON(w, all)
	}
	for _, e := range explanations() {
		labelled(w, fmt.Sprintf("%-19s  %-6s  ", e.id, e.kind), e.proves)
	}
	return nil
}

// nearest is the candidate that was probably meant: one that differs in at most two letters, or
// that begins as the word does.
func nearest(word string, candidates []string) string {
	best, distance := "", 3
	for _, c := range candidates {
		if d := editDistance(strings.ToLower(word), c); d < distance {
			best, distance = c, d
		}
	}
	if best != "" || len(word) < 3 {
		return best
	}
	for _, c := range candidates {
		if strings.HasPrefix(c, strings.ToLower(word)) || strings.HasSuffix(c, "."+strings.ToLower(word)) {
			return c
		}
	}
	return ""
}

// editDistance is the number of letters to insert, delete or replace (Levenshtein).
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := before
			if a[i] != b[j] {
				cost++
			}
			before = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// complete offers a closed list to the shell, for an argument or a flag.
func complete(values ...string) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return values, cobra.ShellCompDirectiveNoFileComp
	}
}
