package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/monitor/notify"
	"github.com/poclog/poclog/monitor/registrars"
	"github.com/poclog/poclog/verify/profile"
	"github.com/poclog/poclog/verify/rule"
)

func newMonitorCmd() *cobra.Command {
	c := &cobra.Command{
		Use:   "monitor",
		Short: "Watch logs: which CVMs ran where, and what was claimed twice",
		Long: "A monitor follows logs, keeps a record of every entry, and finds entries that cannot all be honest: an attestation key on two chips, a\n" +
			"chip in two places, a quote that was kept, a log that signs two histories. What it finds is an alert; where evidence proves it, a file\n" +
			"that poclog verify checks offline.",
	}
	c.AddCommand(newMonitorInitCmd(), newMonitorAddLogCmd(), newMonitorRemoveLogCmd(), newMonitorRunCmd())
	c.AddCommand(newMonitorAnswerCmds()...)
	return c
}

// A monitorFlags says which monitor's folder is asked.
type monitorFlags struct{ dir string }

func (f *monitorFlags) register(c *cobra.Command) {
	c.Flags().StringVar(&f.dir, "dir", "", "the monitor's folder (default: POCLOG_MONITOR, or poclog/monitor in the XDG state folder)")
}

// folder finds the folder: the flag, the variable, or the XDG state folder.
func (f *monitorFlags) folder() string {
	return cmp.Or(f.dir, os.Getenv("POCLOG_MONITOR"), filepath.Join(xdg("XDG_STATE_HOME", ".local/state"), "poclog", "monitor"))
}

// with opens the monitor for one command.
func (f *monitorFlags) with(cfg monitor.Config, do func(*monitor.Monitor) error) error {
	cfg.Agent = softwareName()
	m, err := monitor.Open(f.folder(), cfg)
	if errors.Is(err, fs.ErrNotExist) {
		return hint(undecided(err), "--dir or POCLOG_MONITOR names a monitor's folder; poclog monitor init makes one")
	}
	if err != nil {
		return undecided(err)
	}
	return errors.Join(do(m), m.Close())
}

func newMonitorInitCmd() *cobra.Command {
	var f monitorFlags
	c := &cobra.Command{
		Use:     "init",
		Short:   "Make a monitor's folder",
		Long:    "Makes the folder in which a monitor keeps records, alerts and how far it came with each log. It replaces nothing.",
		Example: "  poclog monitor init --dir /var/lib/monitor",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := monitor.Init(f.folder()); err != nil {
				return undecided(err)
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "a monitor in %s\n", f.folder())
			return nil
		},
	}
	f.register(c)
	return c
}

func newMonitorAddLogCmd() *cobra.Command {
	var f monitorFlags
	var policy string
	c := &cobra.Command{
		Use:   "add-log URL --policy FILE",
		Short: "Follow a further log",
		Long: "Adds the log at a URL by its tlog-policy, all log lines of which must be of one log. The policy's quorum is what the monitor wants on\n" +
			"checkpoints, and the times of its witnesses say when evidence was made: without witnesses there is order, and no time. The same log\n" +
			"again gets the new URL and policy and keeps what was read. A monitor that is running follows with its next look.",
		Example: "  poclog monitor add-log https://log.example/2026 --policy policy.txt",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := readLogPolicy(cmd, policy)
			if err != nil {
				return err
			}
			return f.with(monitor.Config{}, func(m *monitor.Monitor) error {
				origin, err := m.AddLog(cmd.Context(), args[0], text)
				if err != nil {
					return err
				}
				fmt.Fprintf(cmd.ErrOrStderr(), "following %s at %s\n", origin, args[0])
				return nil
			})
		},
	}
	f.register(c)
	c.Flags().StringVar(&policy, "policy", "", `the log's tlog-policy, "-" is standard input`)
	return c
}

func newMonitorRemoveLogCmd() *cobra.Command {
	var f monitorFlags
	c := &cobra.Command{
		Use:     "remove-log ORIGIN",
		Short:   "Stop following a log",
		Long:    "Leaves a log alone. Its records and alerts stay: a log that is added again goes on from there.",
		Example: "  poclog monitor remove-log log.example/2026",
		Args:    cobra.ExactArgs(1),

		ValidArgsFunction: completeOrigins,
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.with(monitor.Config{}, func(m *monitor.Monitor) error { return m.RemoveLog(cmd.Context(), args[0]) })
		},
	}
	f.register(c)
	return c
}

func newMonitorRunCmd() *cobra.Command {
	var f monitorFlags
	var cfg monitor.Config
	var opt monitor.Options
	var tell tellFlags
	var ready readyFlags
	var pinned string
	c := &cobra.Command{
		Use:   "run [--once]",
		Short: "Follow the logs, and raise alerts",
		Long: "Reads what the logs have that is new, compares it with what was there before, and goes on until it is stopped; with --once it looks at\n" +
			"every log one time, as from a cron job. A process that is killed loses nothing and repeats nothing. Contradictions lie in the folder\n" +
			"contradictions, split views of logs in split-views.\n\n" +
			"With --once, exit status 0 means that nothing is new, 1 that there are new contradictions or alerts, and 3 that a log could not be read to\n" +
			"its end, or entries not be compared yet.",
		Example: "  poclog monitor run --once\n  poclog monitor run --dir /var/lib/monitor --move-time 72h\n" +
			"  poclog monitor run --dir /var/lib/monitor --log https://log.example/2026 --policy policy.txt",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cfg.Interval <= 0 || cfg.Stalled <= 0 || cfg.Stale <= 0 || cfg.Limits.MoveTime <= 0 || cfg.Limits.SwapTime <= 0 {
				return usagef("--interval %s, --stalled %s, --index-stale %s, --move-time %s, --swap-time %s: want times above 0", cfg.Interval, cfg.Stalled, cfg.Stale, cfg.Limits.MoveTime, cfg.Limits.SwapTime)
			}
			if opt.Once {
				if err := unused(cmd, "--once looks one time", "interval"); err != nil {
					return err
				}
			}
			if err := tell.used(cmd); err != nil {
				return err
			}
			if err := ready.monitor(cmd, &f); err != nil {
				return err
			}
			cfg.Logger, cfg.Reappraise = newLogger(cmd), profile.Reappraiser{}
			cfg.Silence = notify.SilencesIn(f.folder()).Silencer(time.Now, cfg.Logger)
			opt.Progress = monitorProgress(cmd)
			return f.with(cfg, func(m *monitor.Monitor) (err error) {
				t, err := tell.open(cmd, m, f.folder(), cfg.Logger)
				if err != nil {
					return err
				}
				defer func() { err = errors.Join(err, t.close()) }()
				if pins, err := readPins(cmd, pinned); err != nil {
					return err
				} else if pins != nil {
					t.registrars = &registrars.Watch{Source: m, Pins: pins}
				}
				if err := announce(cmd.Context(), m, opt.Once, cfg.Logger); err != nil {
					return undecided(err)
				}
				return runMonitor(cmd, m, opt, t)
			})
		},
	}
	f.register(c)
	tell.register(c)
	fl := c.Flags()
	fl.StringVar(&ready.log, "log", "", "follow the log at this URL, too, by --policy; the monitor's folder is made if it is not there")
	fl.StringVar(&ready.policy, "policy", "", "the tlog-policy of --log")
	fl.StringVar(&pinned, registrarsFlag, "", "the registrars whose statements are watched (default: POCLOG_REGISTRARS, or registrars.json in the config folder, if it is there)")
	fl.BoolVar(&opt.Once, "once", false, "look at every log one time")
	fl.DurationVar(&cfg.Interval, "interval", monitor.DefaultInterval, "time between two looks at a log")
	fl.DurationVar(&cfg.Stalled, "stalled", monitor.DefaultStalled, "a log without a fresh checkpoint for so long is an alert")
	fl.DurationVar(&cfg.Stale, "index-stale", monitor.DefaultStale, "a log whose index lags behind its entries for so long is an alert")
	fl.DurationVar(&cfg.Limits.MoveTime, "move-time", rule.DefaultMoveTime, "the least time in which a machine is moved to another place")
	fl.DurationVar(&cfg.Limits.SwapTime, "swap-time", rule.DefaultSwapTime, "the least time in which a machine's TPM is replaced")
	return c
}

// announce says which logs are followed: a monitor that follows none is silent, and looks like one
// that found nothing.
func announce(ctx context.Context, m *monitor.Monitor, once bool, logger *slog.Logger) error {
	logs, err := m.Logs(ctx)
	if err != nil {
		return err
	}
	logs = slices.DeleteFunc(logs, func(l monitor.LogInfo) bool { return l.Removed })
	if len(logs) == 0 {
		logger.Warn("no log is followed: poclog monitor add-log adds one")
	}
	for _, l := range logs {
		if !once {
			logger.Info("following", "origin", l.Origin, "url", l.URL, "next", l.Next)
		}
	}
	return nil
}

// runMonitor follows the logs, and tells what is found.
func runMonitor(cmd *cobra.Command, m *monitor.Monitor, opt monitor.Options, t *teller) error {
	if opt.Once {
		return runOnce(cmd, m, opt, t)
	}
	ctx, cancel := context.WithCancel(cmd.Context())
	told := make(chan struct{})
	go func() {
		defer close(told)
		t.run(ctx)
	}()
	_, err := m.Run(ctx, opt)
	cancel()
	<-told
	return undecided(err)
}

// runOnce looks at every log one time. What is new is what the look and the watch list found; what
// could not be told is told next time, and is trouble.
func runOnce(cmd *cobra.Command, m *monitor.Monitor, opt monitor.Options, t *teller) error {
	// What is silenced since the last look must not hide, in the count, what is new now.
	if err := t.mark(cmd.Context()); err != nil {
		return undecided(err)
	}
	before, err := m.CountAlerts(cmd.Context())
	if err != nil {
		return undecided(err)
	}
	out, err := m.Run(cmd.Context(), opt)
	if err != nil {
		return undecided(err)
	}
	var troubles []error
	for _, origin := range slices.Sorted(maps.Keys(out.Trouble)) {
		troubles = append(troubles, fmt.Errorf("%s: %w", origin, out.Trouble[origin]))
	}
	if out.Waiting > 0 {
		troubles = append(troubles, fmt.Errorf("%d pairs of entries are still to be compared", out.Waiting))
	}
	if err := t.once(cmd.Context()); err != nil {
		troubles = append(troubles, err)
	}
	after, err := m.CountAlerts(cmd.Context())
	if err != nil {
		return undecided(err)
	}
	news := newAlerts(before, after)
	w := cmd.OutOrStdout()
	if t.lines {
		w = cmd.ErrOrStderr()
	}
	for _, s := range []rule.Severity{rule.Contradiction, rule.Alert, rule.Information} {
		fmt.Fprintf(w, "%s: %d new\n", s, max(0, news[s]))
	}
	switch found := max(0, news[rule.Contradiction]) + max(0, news[rule.Alert]); {
	case found > 0:
		return inOneLine(append([]error{fmt.Errorf("%d new contradictions and alerts", found)}, troubles...))
	case len(troubles) > 0:
		return undecided(inOneLine(troubles))
	}
	return nil
}

// newAlerts counts what was not there before, by severity, and not what is silenced.
func newAlerts(before, after []monitor.AlertCount) map[rule.Severity]int {
	news := make(map[rule.Severity]int)
	for sign, counts := range map[int][]monitor.AlertCount{-1: before, 1: after} {
		for _, c := range counts {
			if !c.Silenced {
				news[rule.Severity(c.Severity)] += sign * c.N
			}
		}
	}
	return news
}

// inOneLine joins errors with semicolons.
func inOneLine(errs []error) error {
	joined := errs[0]
	for _, err := range errs[1:] {
		joined = fmt.Errorf("%w; %w", joined, err)
	}
	return joined
}

// monitorProgress shows how far the first scan of a log is, on a terminal only.
func monitorProgress(cmd *cobra.Command) func(monitor.Progress) {
	if !watched(cmd) {
		return nil
	}
	var mu sync.Mutex
	logs := make(map[string]func(done, total uint64))
	return func(p monitor.Progress) {
		if p.Total < 1<<14 {
			return // what comes in while a log is followed
		}
		mu.Lock()
		defer mu.Unlock()
		if p.Done < 1<<9 || logs[p.Origin] == nil {
			logs[p.Origin] = progress(cmd, "entries of "+p.Origin)
		}
		logs[p.Origin](p.Done, p.Total)
	}
}
