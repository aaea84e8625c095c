package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/monitor/notify"
)

func newMonitorSilenceCmd() *cobra.Command {
	c := &cobra.Command{
		Use:   "silence",
		Short: "Say which findings nobody is to be told of, why, and until when",
		Long: "Silenced findings are kept and marked, and listed with --silenced; no webhook is called for them, and exit statuses ignore them. A rule alone silences no\n" +
			"contradiction. When a silence ends, or is removed, what it covered is told after all.",
	}
	c.AddCommand(newSilenceAddCmd(), newSilenceListCmd(), newSilenceRemoveCmd())
	return c
}

func newSilenceAddCmd() *cobra.Command {
	var dir monitorFlags
	var s notify.Silence
	var span string
	c := &cobra.Command{
		Use:   "add [ALERT] --reason TEXT --for DURATION",
		Short: "Silence an alert by its id, or all of a rule, a subject or both",
		Example: "  poclog monitor silence add 5f0c… --reason 'our own red team' --for 30d\n" +
			"  poclog monitor silence add --rule tcb-fell --subject intel:tdx:ppid:00112233445566778899aabbccddeeff --reason 'retired next week' --for 7d",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := parseSpan(span)
			if err != nil {
				return usagef("--for %.40q: want a duration, such as 24h or 30d", span)
			}
			if len(args) == 1 {
				s.Alert = args[0]
			}
			s.Added = time.Now()
			s.Until = s.Added.Add(d)
			return dir.with(monitor.Config{}, func(m *monitor.Monitor) error { return addSilence(cmd, m, dir.folder(), s) })
		},
	}
	dir.register(c)
	c.Flags().StringVar(&s.Rule, "rule", "", "alerts of this rule")
	c.Flags().StringVar(&s.Subject, "subject", "", "alerts about this identity, or log:<origin>")
	c.Flags().StringVar(&s.Reason, "reason", "", "why nobody is to be told")
	c.Flags().StringVar(&span, "for", "", "for how long, at most a year: 24h, 30d")
	return c
}

func addSilence(cmd *cobra.Command, m *monitor.Monitor, dir string, s notify.Silence) error {
	subject, err := subjectOf(cmd.Context(), m, s.Subject)
	if err != nil {
		return err
	}
	s.Subject = string(subject)
	if s.Alert != "" {
		a, err := m.Alert(cmd.Context(), s.Alert)
		if err != nil {
			return undecided(err)
		}
		if a == nil {
			return hint(usagef("alert %.40q: there is none", s.Alert), "poclog monitor list alerts shows their ids")
		}
	}
	list := notify.SilencesIn(dir)
	s, err = list.Add(s)
	if err != nil {
		return usagef("%w", err)
	}
	n, err := list.Apply(cmd.Context(), m, time.Now())
	if err != nil {
		return undecided(err)
	}
	fmt.Fprintln(cmd.OutOrStdout(), s.ID)
	fmt.Fprintf(cmd.ErrOrStderr(), "silenced until %s; %s changed\n", s.Until.UTC().Format(time.RFC3339), counted(n, "alert", "alerts"))
	return nil
}

func newSilenceListCmd() *cobra.Command {
	var f listFlags
	c := &cobra.Command{
		Use:     "list",
		Short:   "List the silences",
		Example: "  poclog monitor silence list",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.with(monitor.Config{}, func(*monitor.Monitor) error {
				list, err := notify.SilencesIn(f.folder()).List()
				if err != nil {
					return undecided(err)
				}
				if list == nil {
					list = []notify.Silence{} // an array in JSON
				}
				return f.print(cmd, "silences", list, func(bool) *table { return silenceTable(list) })
			})
		},
	}
	f.monitorFlags.register(c)
	f.registerForm(c)
	return c
}

func silenceTable(list []notify.Silence) *table {
	t := &table{columns: []column{{"ID", 0}, {"UNTIL", 0}, {"RULE", 0}, {"SUBJECT", 0}, {"ALERT", 1}, {"REASON", 0}}}
	for _, s := range list {
		until := s.Until.Format(time.RFC3339)
		if !time.Now().Before(s.Until) {
			until = "ended"
		}
		t.add(s.ID, until, dash(s.Rule), dash(s.Subject), dash(s.Alert), s.Reason)
	}
	return t
}

func newSilenceRemoveCmd() *cobra.Command {
	var dir monitorFlags
	c := &cobra.Command{
		Use:     "remove ID",
		Short:   "Remove a silence: what it covered is told after all",
		Example: "  poclog monitor silence remove 1c9d02aa",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return dir.with(monitor.Config{}, func(m *monitor.Monitor) error {
				list := notify.SilencesIn(dir.folder())
				if err := list.Remove(args[0]); err != nil {
					return err
				}
				n, err := list.Apply(cmd.Context(), m, time.Now())
				if err != nil {
					return undecided(err)
				}
				fmt.Fprintf(cmd.ErrOrStderr(), "removed; %s changed\n", counted(n, "alert", "alerts"))
				return nil
			})
		},
	}
	dir.register(c)
	return c
}
