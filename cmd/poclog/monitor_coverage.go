package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/monitor/query"
)

// Defaults of the coverage.
const (
	coverageSince  = "7d"
	coverageWindow = time.Hour
	barWidth       = 72 // where the output is no terminal
)

// A coverageCmd says when proofs covered an identity.
type coverageCmd struct {
	listFlags
	chassis, instance string
	window            time.Duration
	atLeast           float64
}

func newMonitorCoverageCmd() *cobra.Command {
	f := new(coverageCmd)
	c := &cobra.Command{
		Use:   "coverage --chassis ID",
		Short: "Show when fresh proofs covered a chip or a VM, and the gaps",
		Long: "Shows how continuously an identity was proven (the alliance's level 3). Each fresh proof that binds the machine to its place stands for a window of\n" +
			"time from its appraisal on: how long is the reader's choice, --window. Between two windows nobody has shown that the machine was where it was.\n" +
			"Exit status 1: less is covered than --at-least asks for.",
		Example: "  poclog monitor coverage --chassis intel:tdx:ppid:00112233445566778899aabbccddeeff --since 7d\n" +
			"  poclog monitor coverage --instance gce:instance:7:42 --since 24h --window 15m --at-least 99.9",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.with(monitor.Config{}, func(m *monitor.Monitor) error { return f.run(cmd, m) })
		},
	}
	f.monitorFlags.register(c)
	c.Flags().StringVar(&f.chassis, "chassis", "", "the chip, or on bare metal the EK, whole or by the beginning of its value")
	c.Flags().StringVar(&f.instance, "instance", "", "the VM's instance or attestation key")
	c.Flags().StringVar(&f.since, "since", coverageSince, "from this time: RFC 3339, a date, or how long ago (24h, 7d)")
	c.Flags().StringVar(&f.until, "until", "", "up to this time (default: now)")
	c.Flags().DurationVar(&f.window, "window", coverageWindow, "how long one proof stands for")
	c.Flags().Float64Var(&f.atLeast, "at-least", 0, "percentage that must be covered")
	c.Flags().BoolVar(&f.asJSON, "json", false, "print JSON")
	return c
}

func (f *coverageCmd) run(cmd *cobra.Command, m *monitor.Monitor) error {
	if (f.chassis == "") == (f.instance == "") {
		return usagef("say what: --chassis or --instance")
	}
	if f.window < time.Second || f.window > 366*24*time.Hour || f.atLeast < 0 || f.atLeast > 100 {
		return usagef("--window %s, --at-least %g: want 1s to a year, and 0 to 100", f.window, f.atLeast)
	}
	now := time.Now().UTC().Truncate(time.Second)
	since, until, err := f.span(now)
	if err != nil {
		return err
	}
	if until.IsZero() {
		until = now.Add(time.Second) // the second that runs is part of it: proofs of this second count
	}
	if !since.Before(until) {
		return usagef("--since %s is not before the end", f.since)
	}
	ctx := cmd.Context()
	id, err := resolve(ctx, m, f.chassis+f.instance)
	if err != nil {
		return err
	}
	points, err := query.FreshProofs(m.Records(ctx, monitor.Filter{Kind: monitor.KindProof, Identity: id, MinLevel: poclog.LevelBound, Since: since.Add(-f.window), Until: until}))
	if err != nil {
		return undecided(err)
	}
	c := query.Cover(points, f.window, query.Span{From: since, To: until})
	if err := f.show(cmd, id, &c); err != nil {
		return undecided(err)
	}
	if c.Share*100 < f.atLeast {
		return fmt.Errorf("%s: %s is covered, want at least %g %%", id, c.Percent(), f.atLeast)
	}
	return nil
}

func (f *coverageCmd) show(cmd *cobra.Command, id poclog.Identity, c *query.Coverage) error {
	out := cmd.OutOrStdout()
	if f.asJSON {
		return printJSON(out, struct {
			V        int             `json:"v"`
			Identity poclog.Identity `json:"identity"`
			Window   string          `json:"window"`
			*query.Coverage
		}{1, id, c.Window.String(), c})
	}
	fmt.Fprintf(out, "%s\n%s of %s is covered by %s, each of which stands for %s\n\n", id, c.Percent(), days(c.To.Sub(c.From)), counted(c.Proofs, "fresh proof", "fresh proofs"), c.Window)
	printBar(out, c, cmp.Or(widthOf(out), barWidth))
	t := &table{columns: []column{{"", 0}, {"WHEN (UTC)", 0}, {"LENGTH", 0}, {"PROOFS", 1}, {"PLACE", 0}}}
	gap := func(g query.Span) { t.add("gap", longSpan(g), days(g.To.Sub(g.From)), "", "") }
	at := c.From
	for _, s := range c.Covered {
		if at.Before(s.From) {
			gap(query.Span{From: at, To: s.From})
		}
		t.add("covered", longSpan(s.Span), days(s.To.Sub(s.From)), fmt.Sprint(s.Proofs), strings.Join(s.Places, ", "))
		at = s.To
	}
	if at.Before(c.To) {
		gap(query.Span{From: at, To: c.To})
	}
	return t.print(out, widthOf(out))
}

// printBar draws the time line with its ends below.
func printBar(out io.Writer, c *query.Coverage, width int) {
	const layout = "2006-01-02 15:04"
	width = max(width-4, 2*len(layout)+2)
	from, to := c.From.Format(layout), c.To.Format(layout)
	fmt.Fprintf(out, "  %s\n  %s%s%s\n\n", c.Bar(width), from, strings.Repeat(" ", width-len(from)-len(to)), to)
}

func longSpan(s query.Span) string {
	layout := "2006-01-02 15:04"
	if s.To.Sub(s.From) < time.Hour {
		layout = time.DateTime
	}
	if s.From.Format(time.DateOnly) == s.To.Format(time.DateOnly) {
		return s.From.Format(layout) + "–" + s.To.Format(layout[len("2006-01-02 "):])
	}
	return s.From.Format(layout) + "–" + s.To.Format(layout)
}

// days gives a duration as people say it.
func days(d time.Duration) string {
	n := d / (24 * time.Hour)
	rest := (d % (24 * time.Hour)).String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(rest, zero) {
			rest = strings.TrimSuffix(rest, zero[1:])
		}
	}
	switch {
	case n == 0:
		return rest
	case d%(24*time.Hour) == 0:
		return fmt.Sprintf("%dd", n)
	}
	return fmt.Sprintf("%dd%s", n, rest)
}
