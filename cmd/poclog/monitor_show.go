package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/internal/terminal"
	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/monitor/query"
	"github.com/poclog/poclog/verify/rule"
)

// A showCmd says everything that is claimed about one identity.
type showCmd struct {
	listFlags
	exact   bool
	limit   int
	dossier output
	origin  string
}

func newMonitorShowCmd() *cobra.Command {
	s := new(showCmd)
	c := &cobra.Command{
		Use:   "show ID",
		Short: "Show everything that is claimed about a chip, key, instance or quote",
		Long: "Shows what entries say of an identity, in the order of time, with places, and what the monitor found about it. The identity is given whole, or by the\n" +
			"beginning of its value as tables show it. Times are those of appraisal, which the log says: the evidence is older by minutes at most, and the\n" +
			"entry was in the log when the monitor first saw it there. With --exact the logs are asked for receipts, and each entry gets the interval\n" +
			"in which its evidence was made under the monitor's policy for the log. With --dossier the log is asked for a file that\n" +
			"shows the same to others, with proof that it is everything. Exit status 1: no entry names the identity.",
		Example: "  poclog monitor show intel:tdx:ppid:00112233445566778899aabbccddeeff\n" +
			"  poclog monitor show ppid:00112233 --dossier chip.dossier.json\n" +
			"  poclog monitor show ppid:00112233 --exact\n  poclog monitor show gce:instance:7:42 --json",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeIdentities,
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.with(monitor.Config{}, func(m *monitor.Monitor) error { return s.run(cmd, m, args[0]) })
		},
	}
	s.monitorFlags.register(c)
	s.registerSpan(c, "what was appraised")
	s.registerForm(c)
	c.Flags().BoolVar(&s.exact, "exact", false, "ask the logs for receipts, and show in which interval evidence was made")
	s.dossier.fixed = true
	c.Flags().StringVar(&s.dossier.path, "dossier", "", "save the log's dossier of the identity in this file")
	c.Flags().StringVar(&s.origin, "log", "", "the origin of the log whose dossier is saved, if several are followed")
	c.Flags().IntVar(&s.limit, "limit", 1000, "the newest so many entries; 0 is all")
	return c
}

func (s *showCmd) run(cmd *cobra.Command, m *monitor.Monitor, text string) error {
	since, until, err := s.span(time.Now())
	if err != nil {
		return err
	}
	if s.limit < 0 {
		return usagef("--limit %d: want 0 or more", s.limit)
	}
	if s.origin != "" && s.dossier.path == "" {
		return usagef("--log: it says whose dossier is saved, by --dossier FILE")
	}
	if err := s.dossier.checkIfNamed(); err != nil {
		return err
	}
	ctx := cmd.Context()
	id, err := resolve(ctx, m, text)
	if err != nil {
		return err
	}
	f := monitor.Filter{Kind: monitor.KindProof, Identity: id, Since: since, Until: until}
	list, total, err := query.Statements(m.Records(ctx, f), id, s.limit)
	if err != nil {
		return undecided(err)
	}
	if s.exact {
		for i := range list {
			list[i].Interval = intervalOf(ctx, m, list[i].EntryRef)
		}
	}
	alerts, err := alertsAbout(ctx, m, id)
	if err != nil {
		return undecided(err)
	}
	if err := s.show(cmd, id, list, total, alerts); err != nil {
		return err
	}
	if s.dossier.path != "" {
		if err := s.save(cmd, m, id, since); err != nil {
			return err
		}
	}
	if total == 0 {
		return fmt.Errorf("%s: no entry names it", id)
	}
	return nil
}

// save keeps a log's dossier of an identity.
func (s *showCmd) save(cmd *cobra.Command, m *monitor.Monitor, id poclog.Identity, since time.Time) error {
	names, err := namesOfIdentity(id)
	if err != nil {
		return err
	}
	logs, err := m.Logs(cmd.Context())
	if err != nil {
		return undecided(err)
	}
	var followed []string
	for _, l := range logs {
		if !l.Removed && (s.origin == "" || s.origin == l.Origin) {
			followed = append(followed, l.Origin)
		}
	}
	if len(followed) == 0 {
		return usagef("--log %s: this monitor does not follow it", s.origin)
	}
	if len(followed) > 1 {
		return usagef("a dossier is of one log: say which with --log: %s", strings.Join(followed, ", "))
	}
	cl, err := m.Client(cmd.Context(), followed[0])
	if err != nil {
		return undecided(err)
	}
	file, a, err := fetchDossier(cmd, cl, client.DossierOf{Names: names, Since: since})
	if err != nil {
		return err
	}
	if err := s.dossier.write(cmd, file); err != nil {
		return err
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%s: %d entries of %s, complete up to entry %d\n", s.dossier.path, len(a.Entries), a.Origin, a.Size)
	return nil
}

// intervalOf is when an entry's evidence was made, or why that is not known.
func intervalOf(ctx context.Context, m *monitor.Monitor, e monitor.EntryRef) *query.Interval {
	i, err := query.IntervalOf(ctx, m, e)
	if err != nil {
		return &query.Interval{Why: err.Error()}
	}
	return i
}

func alertsAbout(ctx context.Context, m *monitor.Monitor, id poclog.Identity) ([]*monitor.Alert, error) {
	list := []*monitor.Alert{}
	for _, severity := range []rule.Severity{rule.Contradiction, rule.Alert} {
		all, err := collectAlerts(ctx, m, monitor.AlertFilter{Severity: severity})
		if err != nil {
			return nil, err
		}
		for _, a := range all {
			if query.Concerns(a, id) {
				list = append(list, a)
			}
		}
	}
	return list, nil
}

func (s *showCmd) show(cmd *cobra.Command, id poclog.Identity, list []query.Statement, total int, alerts []*monitor.Alert) error {
	out := cmd.OutOrStdout()
	if s.asJSON {
		if list == nil {
			list = []query.Statement{}
		}
		return printJSON(out, query.Shown{V: 1, Identity: id, Total: total, Statements: list, Alerts: alerts})
	}
	if s.asCSV {
		return statementTable(list).csv(out)
	}
	width := widthOf(out)
	fmt.Fprintf(out, "%s: %s", id, counted(total, "entry", "entries"))
	if len(alerts) > 0 {
		fmt.Fprint(out, ", ")
		_ = terminal.Paint(out, terminal.Bad, counted(len(alerts), "finding", "findings")) // the next write has its error, too
	}
	fmt.Fprintln(out)
	if total > len(list) {
		fmt.Fprintf(out, "the newest %d of them:\n", len(list))
	}
	for i := range list {
		s.statement(cmd, id, &list[i])
	}
	if len(alerts) > 0 {
		fmt.Fprintf(out, "\n%s about it or concerning it:\n\n", counted(len(alerts), "finding", "findings"))
	}
	for _, a := range alerts {
		printAlert(cmd, a, s.folder(), width)
	}
	return nil
}

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// statement shows one entry in three lines.
func (s *showCmd) statement(cmd *cobra.Command, id poclog.Identity, st *query.Statement) {
	out, full := cmd.OutOrStdout(), widthOf(cmd.OutOrStdout()) == 0
	fmt.Fprintf(out, "\n%s  %s\n", st.Appraised.UTC().Format("2006-01-02 15:04:05"), placeCell(st.Place, st.Hint, true))
	var others []string
	for _, o := range st.Identities {
		switch {
		case o == id:
		case full:
			others = append(others, string(o))
		default:
			others = append(others, shortID(o))
		}
	}
	if len(others) > 0 {
		fmt.Fprintln(out, terminal.Wrap(strings.Join(others, "  "), "  ", widthOf(out)))
	}
	facts := []string{fmt.Sprintf("level %d %s", st.Level, st.Profile)}
	if st.Realm != poclog.Production {
		facts = append(facts, "realm "+string(st.Realm))
	}
	if !st.Fresh {
		facts = append(facts, "historical")
	}
	if st.TCB != "" {
		facts = append(facts, st.TCB)
	}
	if st.Boot != "" {
		facts = append(facts, "boot "+st.Boot)
	}
	fmt.Fprintf(out, "  %s\n", strings.Join(facts, ", "))
	fmt.Fprintf(out, "  %s, seen there %s\n", refText(st.EntryRef), st.FirstSeen.UTC().Format("2006-01-02 15:04:05"))
	if st.Interval != nil {
		fmt.Fprintf(out, "  %s\n", st.Interval)
	}
}

func statementTable(list []query.Statement) *table {
	t := &table{columns: []column{{"APPRAISED", 0}, {"FIRST SEEN", 0}, {"NOT BEFORE", 0}, {"NOT AFTER", 0}, {"LOG", 0}, {"INDEX", 0}, {"LEVEL", 0}, {"REALM", 0}, {"PROFILE", 0},
		{"PLACE", 0}, {"UNPROVEN", 0}, {"TCB", 0}, {"BOOT", 0}, {"MEASUREMENT", 0}, {"IDENTITIES", 0}}}
	stamp := func(at *time.Time) string {
		if at == nil {
			return ""
		}
		return at.Format(time.RFC3339)
	}
	for _, s := range list {
		var ids []string
		for _, id := range s.Identities {
			ids = append(ids, string(id))
		}
		i := s.Interval
		if i == nil {
			i = new(query.Interval)
		}
		t.add(s.Appraised.Format(time.RFC3339), s.FirstSeen.Format(time.RFC3339), stamp(i.NotBefore), stamp(i.NotAfter), s.Origin, fmt.Sprint(s.Index), fmt.Sprint(s.Level),
			string(s.Realm), string(s.Profile), s.Place.String(), s.Hint, s.TCB, s.Boot, s.Measurement, strings.Join(ids, " "))
	}
	return t
}
