package main

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/terminal"
	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/monitor/query"
	"github.com/poclog/poclog/verify/rule"
)

// newMonitorAnswerCmds are the commands of a monitor that answer questions and tell what was found.
func newMonitorAnswerCmds() []*cobra.Command {
	return []*cobra.Command{
		newMonitorListCmd(), newMonitorShowCmd(), newMonitorCoverageCmd(), newMonitorServeCmd(), newMonitorJudgeCmd(), newMonitorTellCmd(), newMonitorSilenceCmd(),
	}
}

func newMonitorListCmd() *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "List what the logs prove: VMs, chips, places, contradictions"}
	c.AddCommand(newListCVMsCmd(), newListChassisCmd(), newListPlacesCmd(), newListAlertsCmd("contradictions", "contradiction"), newListAlertsCmd("alerts", ""))
	return c
}

// provenPlaces is the rule about places that every list keeps.
const provenPlaces = "Places are those that evidence proves; what only level 0 or a hint claims is shown as unproven, and picked by --place only with --unproven.\n"

func newListCVMsCmd() *cobra.Command {
	return listCmd(&cobra.Command{
		Use:   "cvms",
		Short: "List which confidential VMs ran where",
		Long: "Lists the confidential VMs with a proof among those picked. One row is one VM on one chip at one place with one launch measurement: a VM is known\n" +
			"by its instance, without one by its attestation key and boot, without those only by chip and measurement. First and last are when its first and\n" +
			"last picked proofs were appraised: it ran at these moments, and nobody knows whether between them.\n" + provenPlaces,
		Example: "  poclog monitor list cvms --place gce/us-central1-a --since 2026-11-01T00:00:00Z --until 2026-11-02T00:00:00Z\n" +
			"  poclog monitor list cvms --since 24h --csv",
	}, query.CVMs, cvmTable)
}

func newListChassisCmd() *cobra.Command {
	return listCmd(&cobra.Command{
		Use:     "chassis",
		Short:   "List chips, with what was proven on them",
		Long:    "Lists the chips with a proof among those picked: where they were proven, how many VMs ran on them, and the platform's newest status.\n" + provenPlaces,
		Example: "  poclog monitor list chassis --place azure --since 7d\n  poclog monitor list chassis --json",
	}, query.ChassisList, chassisTable)
}

func newListPlacesCmd() *cobra.Command {
	return listCmd(&cobra.Command{
		Use:     "places",
		Short:   "Count chips, VMs and proofs at every place",
		Long:    "Counts what was proven at every provider, region and zone. A place is marked where a contradiction or an alert is about a chip or a VM there.\n" + provenPlaces,
		Example: "  poclog monitor list places --since 30d",
	}, query.Places, placesTable)
}

// listCmd completes a command that lists what the picked records show, marks what is claimed twice,
// and prints it in the form that was asked for.
func listCmd[T any](c *cobra.Command, list func(query.Records, query.Filter, query.Clashes) ([]T, error), rows func([]T, bool) *table) *cobra.Command {
	f := new(listFlags)
	f.register(c)
	c.Args = cobra.NoArgs
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		mf, af, err := f.filters()
		if err != nil {
			return err
		}
		return f.with(monitor.Config{}, func(m *monitor.Monitor) error {
			clashes, err := query.ClashesIn(cmd.Context(), m, nil)
			if err != nil {
				return undecided(err)
			}
			found, err := list(m.Records(cmd.Context(), mf), af, clashes)
			if err != nil {
				return undecided(err)
			}
			return f.print(cmd, c.Name(), found, func(full bool) *table { return rows(found, full) })
		})
	}
	return c
}

// print prints a list as JSON, CSV or a table. A table on a terminal is shortened to fit; elsewhere
// it has everything in full.
func (f *listFlags) print(cmd *cobra.Command, name string, list any, rows func(full bool) *table) (err error) {
	out := cmd.OutOrStdout()
	width := widthOf(out)
	switch {
	case f.asJSON:
		err = printJSON(out, map[string]any{"v": 1, name: list})
	case f.asCSV:
		err = rows(true).csv(out)
	default:
		t := rows(width == 0)
		if len(t.rows) == 0 {
			_, err = fmt.Fprintf(cmd.ErrOrStderr(), "no %s\n", name)
			break
		}
		err = t.print(out, width)
		if err == nil && width > 0 && t.has(clashed) {
			about := "it: poclog monitor show ID"
			if name == "places" {
				about = "a VM there: poclog monitor list cvms"
			}
			fmt.Fprintln(cmd.ErrOrStderr(), clashed+" a contradiction or an alert is about "+about)
		}
	}
	return undecided(err)
}

// cell gives an identity, a span and a reference in full or short.
type cell struct{ full bool }

func (c cell) times(s query.Seen) []string {
	if c.full {
		return []string{s.First.Format(time.RFC3339), s.Last.Format(time.RFC3339)}
	}
	return []string{shortSpan(s.First, s.Last)}
}

func (c cell) timeColumns() []column {
	if c.full {
		return []column{{"FIRST", 0}, {"LAST", 0}}
	}
	return []column{{"WHEN (UTC)", 0}}
}

func (c cell) cut(s string, n int) string {
	if c.full || len(s) <= n {
		return dash(s)
	}
	return s[:n] + "…"
}

// clashed is the mark of rows about which there is a contradiction or an alert.
const clashed = "!"

// withClashes marks rows: on a terminal in front, in files behind, by their number.
func (c cell) withClashes(t *table, clashes []int) {
	name, at := clashed, 0
	if c.full {
		name, at = "CLASHES", len(t.columns)
	}
	t.columns = slices.Insert(t.columns, at, column{name, 0})
	for i, n := range clashes {
		text := fmt.Sprint(n)
		if !c.full {
			text = clashed[:min(n, 1)]
		}
		t.rows[i] = slices.Insert(t.rows[i], at, text)
	}
	if !c.full {
		t.omit(clashed, "")
	}
}

func cvmTable(list []query.CVM, full bool) *table {
	c := cell{full}
	t := &table{columns: append(c.timeColumns(), column{"PROOFS", 3}, column{"PLACE", 0}, column{"CHIP", 0}, column{"VM", 0}, column{"MEASUREMENT", 1},
		column{"TCB", 2}, column{"LEVEL", 5}, column{"REALM", 0}, column{"NEWEST ENTRY", 4})}
	var clashes []int
	for _, v := range list {
		clashes = append(clashes, v.Clashes)
		id := cmp.Or(v.Instance, v.AK)
		chip, vm := string(v.Chip), string(id)
		if !full {
			chip, vm = shortID(v.Chip), shortID(id)
		}
		if v.Instance == "" && v.Boot != "" {
			vm += " boot " + v.Boot
		}
		t.add(append(c.times(v.Seen), fmt.Sprint(v.Proofs), placeCell(v.Place, v.Hint, full), dash(chip), dash(vm), c.cut(v.Measurement, shortHex), dash(v.TCB),
			fmt.Sprint(v.Level), string(v.Realm), refText(v.Newest))...)
	}
	if !full {
		t.omit("REALM", string(poclog.Production))
	}
	c.withClashes(t, clashes)
	return t
}

func chassisTable(list []query.Chassis, full bool) *table {
	c := cell{full}
	t := &table{columns: append(c.timeColumns(), column{"PROOFS", 2}, column{"CHIP", 0}, column{"PLACES", 0}, column{"CVMS", 0}, column{"TCB", 0}, column{"FMSPC", 1},
		column{"REALM", 0})}
	var clashes []int
	for _, v := range list {
		clashes = append(clashes, v.Clashes)
		chip, places := shortID(v.Chip), "unproven"
		if full {
			chip = string(v.Chip)
		}
		if len(v.Places) > 0 {
			places = strings.Join(placeTexts(v.Places, full), ", ")
		}
		t.add(append(c.times(v.Seen), fmt.Sprint(v.Proofs), chip, places, fmt.Sprint(v.CVMs), dash(v.TCB), dash(v.FMSPC), string(v.Realm))...)
	}
	if !full {
		t.omit("REALM", string(poclog.Production))
	}
	c.withClashes(t, clashes)
	return t
}

func placesTable(list []query.PlaceCount, full bool) *table {
	c := cell{full}
	t := &table{columns: append([]column{{"PROVIDER", 0}, {"REGION", 0}, {"ZONE", 0}, {"CHIPS", 0}, {"CVMS", 0}, {"PROOFS", 2}}, append(c.timeColumns(), column{"PROVEN", 1}, column{"REALM", 0})...)}
	var clashes []int
	for _, v := range list {
		clashes = append(clashes, v.Clashes)
		proven := "yes"
		if !v.Proven {
			proven = "no: claimed"
		}
		t.add(append(append([]string{v.Provider, dash(v.Region), dash(v.Zone), fmt.Sprint(v.Chips), fmt.Sprint(v.CVMs), fmt.Sprint(v.Proofs)}, c.times(v.Seen)...), proven, string(v.Realm))...)
	}
	if !full {
		t.omit("REALM", string(poclog.Production))
		t.omit("PROVEN", "yes")
	}
	c.withClashes(t, clashes)
	return t
}

func newListAlertsCmd(name string, severity rule.Severity) *cobra.Command {
	f := new(listFlags)
	var ruleID, subject string
	var silenced bool
	c := &cobra.Command{
		Use:   name,
		Short: "List " + name + " in the order in which they came",
		Long: "Lists what the monitor found. The evidence of a contradiction is a file in the monitor's folder, which `poclog verify` checks offline. What is silenced\n" +
			"is left out unless --silenced is given. Exit status 1: there are some.",
		Example: "  poclog monitor list " + name + " --since 7d\n  poclog monitor list " + name + " --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			af := monitor.AlertFilter{Severity: severity, Rule: ruleID, Unsilenced: !silenced}
			var err error
			if af.Since, af.Until, err = f.span(time.Now()); err != nil {
				return err
			}
			return f.with(monitor.Config{}, func(m *monitor.Monitor) (err error) {
				if af.Subject, err = subjectOf(cmd.Context(), m, subject); err != nil {
					return err
				}
				return f.alerts(cmd, m, name, af)
			})
		},
	}
	f.monitorFlags.register(c)
	f.registerSpan(c, "found")
	f.registerForm(c)
	c.Flags().StringVar(&ruleID, "rule", "", "of this rule, such as ak-on-two-chips")
	c.Flags().StringVar(&subject, "subject", "", "about this identity, or log:<origin>")
	c.Flags().BoolVar(&silenced, "silenced", false, "also what is silenced")
	return c
}

func (f *listFlags) alerts(cmd *cobra.Command, m *monitor.Monitor, name string, af monitor.AlertFilter) error {
	list, err := collectAlerts(cmd.Context(), m, af)
	if err != nil {
		return undecided(err)
	}
	if len(list) == 0 && !f.asJSON && !f.asCSV {
		return noAlerts(cmd, m, name, af)
	}
	if width := widthOf(cmd.OutOrStdout()); width > 0 && !f.asJSON && !f.asCSV {
		for _, a := range list {
			printAlert(cmd, a, f.folder(), width)
		}
	} else if err := f.print(cmd, name, list, func(bool) *table { return alertTable(list) }); err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(a *monitor.Alert) bool { return a.Silenced != "" })
	if len(list) > 0 {
		return fmt.Errorf("%s", counted(len(list), strings.TrimSuffix(name, "s"), name))
	}
	return nil
}

// noAlerts says that there are none, and how many are silenced: silence is not to be taken for
// peace.
func noAlerts(cmd *cobra.Command, m *monitor.Monitor, name string, af monitor.AlertFilter) error {
	af.Unsilenced = false
	silenced, err := collectAlerts(cmd.Context(), m, af)
	if err != nil {
		return undecided(err)
	}
	more := ""
	if len(silenced) > 0 {
		more = fmt.Sprintf("; %d silenced, which --silenced shows", len(silenced))
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "no %s%s\n", name, more)
	return nil
}

func collectAlerts(ctx context.Context, m *monitor.Monitor, f monitor.AlertFilter) ([]*monitor.Alert, error) {
	list := []*monitor.Alert{}
	for a, err := range m.Alerts(ctx, f) {
		if err != nil {
			return nil, err
		}
		list = append(list, a)
	}
	return list, nil
}

func alertTable(list []*monitor.Alert) *table {
	t := &table{columns: []column{{"TIME", 0}, {"SEVERITY", 0}, {"RULE", 0}, {"SUBJECT", 0}, {"ENTRIES", 0}, {"SEEN", 0}, {"MEANING", 0}, {"FILE", 0}, {"SILENCED", 0}, {"ID", 0}}}
	for _, a := range list {
		var refs []string
		for _, e := range a.Entries {
			refs = append(refs, refText(e))
		}
		t.add(a.Time.Format(time.RFC3339), string(a.Severity), a.Rule, string(a.Subject), dash(strings.Join(refs, " ")), a.Seen, a.Meaning, dash(a.File), dash(a.Silenced), a.ID)
	}
	return t
}

// printAlert shows an alert for people: what, when, and in two sentences what was seen and what it
// may mean.
func printAlert(cmd *cobra.Command, a *monitor.Alert, dir string, width int) {
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "%s %s  %s\n", strings.ToUpper(string(a.Severity)), a.Rule, a.Time.UTC().Format(time.DateTime))
	fmt.Fprintln(out, terminal.Wrap(a.Seen, "  ", width))
	fmt.Fprintln(out, terminal.Wrap(a.Meaning, "  ", width))
	if len(a.Implicated) > 0 {
		fmt.Fprintln(out, terminal.Wrap("Implicated: "+strings.Join(a.Implicated, ", "), "  ", width))
	}
	if a.Silenced != "" {
		fmt.Fprintln(out, terminal.Wrap("Silenced: "+a.Silenced, "  ", width))
	}
	if a.File != "" {
		fmt.Fprintf(out, "  Evidence, for poclog verify:\n  %s\n", filepath.Join(dir, a.File))
	}
	fmt.Fprintf(out, "  Id: %s\n\n", a.ID)
}
